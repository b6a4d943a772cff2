#include "diffract/kernels/cuda/float8.cuh"
#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

// The sum over the `Warps` warps that share a row. shared: Warps floats
template <int Warps>
__device__ float row_sum(float x, float* shared) {
  x = warp_sum(x);
  if constexpr (Warps > 1) {
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int i = 0; i < Warps; ++i) x += shared[i];
  }
  return x;
}

// The same for the largest; `x` is not negative.
template <int Warps>
__device__ float row_max(float x, float* shared) {
  x = warp_max(x);
  if constexpr (Warps > 1) {
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Warps; ++i) x = fmaxf(x, shared[i]);
  }
  return x;
}

// FLUX's width, 3072, is three packs of 8 a thread: 64 registers hold them without spilling, and let eight
// blocks of a row each load at once. Left alone, nvcc takes fewer registers and spills.
constexpr int blocks_at_once(int packs) { return packs == 3 ? 8 : 1; }

// A row lies in the registers of `Warps` warps, in up to `Packs` packs of N a thread, as it lies in memory:
// the fewer registers, the more rows are under way. Narrow: out is float8.
template <typename T, int N, int Warps, int Packs, bool Narrow>
__global__ void __launch_bounds__(Warps == 1 ? 128 : 32 * Warps, blocks_at_once(Packs))
    residual_norm_kernel(ResidualNormLaunch l) {
  __shared__ float shared[Warps];
  constexpr int kRowThreads = 32 * Warps;
  const unsigned row = Warps == 1 ? blockIdx.x * 4 + threadIdx.x / 32 : blockIdx.x;
  if (row >= l.rows) return;  // whole warps; with more than one a row, whole blocks
  const int lane = static_cast<int>(threadIdx.x) % kRowThreads;
  const int packs = static_cast<int>(l.width) / N;
  const int64_t begin = row * l.width;
  const T* x = static_cast<const T*>(l.x) + begin;
  const T* y = l.y ? static_cast<const T*>(l.y) + begin : nullptr;
  const int64_t vectors = row / static_cast<unsigned>(l.rows_a_batch) * l.vector_stride;
  const T* gate = l.gate ? static_cast<const T*>(l.gate) + vectors : nullptr;
  const auto for_each_pack = [&](auto&& body) {  // body(which of the thread's, which of the row's)
#pragma unroll
    for (int p = 0; p < Packs; ++p)
      if (p * kRowThreads + lane < packs) body(p, p * kRowThreads + lane);
  };

  // All loads of a row are under way before the first of them is waited for.
  Pack<T, N> kept[Packs];
  for_each_pack([&](int p, int pack) { kept[p] = load_constant<T, N>(x + pack * N); });
  if (y) {
    Pack<T, N> added[Packs];
    for_each_pack([&](int p, int pack) { added[p] = load_constant<T, N>(y + pack * N); });
    for_each_pack([&](int p, int pack) {
      Pack<T, N> g{};
      if (gate) g = load_constant<T, N>(gate + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float more = to_float(added[p].at[i]);
        const float sum = to_float(kept[p].at[i]) + (gate ? to_float(g.at[i]) * more : more);
        kept[p].at[i] = from_float<T>(in_range<T>(sum));
      }
      if (l.sum) store<T, N>(static_cast<T*>(l.sum) + begin + pack * N, kept[p]);
    });
  }
  if (!l.out) return;

  const auto width = static_cast<float>(l.width);
  float mean = 0;
  if (!l.rms) {
    float sum = 0;
    for_each_pack([&](int p, int) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += to_float(kept[p].at[i]);
    });
    mean = row_sum<Warps>(sum, shared) / width;
  }
  float squares = 0;
  for_each_pack([&](int p, int) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float off = to_float(kept[p].at[i]) - mean;
      squares += off * off;
    }
  });
  const float scale = rsqrtf(row_sum<Warps>(squares, shared) / width + l.eps);
  const auto normed = [&](int p, int pack, float(&values)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = (to_float(kept[p].at[i]) - mean) * scale;
    if (l.weight) {
      const auto w = load_constant<T, N>(static_cast<const T*>(l.weight) + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] *= to_float(w.at[i]);
    }
    if (l.bias) {
      const auto b = load_constant<T, N>(static_cast<const T*>(l.bias) + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] += to_float(b.at[i]);
    }
    if (l.scale) {
      const auto s = load_constant<T, N>(static_cast<const T*>(l.scale) + vectors + pack * N);
      const auto t = load_constant<T, N>(static_cast<const T*>(l.shift) + vectors + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) values[i] = values[i] * (1.0f + to_float(s.at[i])) + to_float(t.at[i]);
    }
  };

  if constexpr (!Narrow) {
    for_each_pack([&](int p, int pack) {
      float values[N];
      normed(p, pack, values);
      Pack<T, N> result;
#pragma unroll
      for (int i = 0; i < N; ++i) result.at[i] = from_float<T>(values[i]);
      store<T, N>(static_cast<T*>(l.out) + begin + pack * N, result);
    });
  } else {
    float values[Packs][N], most = 0;
    for_each_pack([&](int p, int pack) {
      normed(p, pack, values[p]);
#pragma unroll
      for (int i = 0; i < N; ++i) most = fmaxf(most, fabsf(values[p][i]));
    });
    const float divisor = float8_scale(row_max<Warps>(most, shared));
    if (lane == 0) l.float8_scales[row] = divisor;
    const float inverse = 1.0f / divisor;
    for_each_pack([&](int p, int pack) {
      store<Float8, N>(static_cast<Float8*>(l.out) + begin + pack * N, to_float8<N>(values[p], inverse));
    });
  }
}

constexpr int64_t kManyRows = 1024;  // that keep all multiprocessors busy with a warp each

template <typename T, int N, bool Narrow>
cudaError_t run(const ResidualNormLaunch& l, cudaStream_t stream) {
  const int64_t packs = l.width / N;
  const auto rows = static_cast<unsigned>(l.rows);
  if (packs <= 64)
    residual_norm_kernel<T, N, 1, 2, Narrow><<<(rows + 3) / 4, 128, 0, stream>>>(l);
  else if (packs <= 160 && l.rows >= kManyRows)
    residual_norm_kernel<T, N, 1, 5, Narrow><<<(rows + 3) / 4, 128, 0, stream>>>(l);
  else if (packs <= 384)
    residual_norm_kernel<T, N, 4, 3, Narrow><<<rows, 128, 0, stream>>>(l);
  else if (packs <= 512)
    residual_norm_kernel<T, N, 4, 4, Narrow><<<rows, 128, 0, stream>>>(l);
  else if (packs <= 4096)
    residual_norm_kernel<T, N, 16, 8, Narrow><<<rows, 512, 0, stream>>>(l);
  else
    return cudaErrorInvalidValue;
  return cudaGetLastError();
}

}  // namespace

cudaError_t residual_norm(const ResidualNormLaunch& l, cudaStream_t stream) {
  cudaError_t result = cudaSuccess;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = l.width % kWide == 0 && l.vector_stride % kWide == 0;
    if (l.float8_scales)
      result = wide ? run<T, kWide, true>(l, stream) : run<T, 1, true>(l, stream);
    else
      result = wide ? run<T, kWide, false>(l, stream) : run<T, 1, false>(l, stream);
  });
  return result;
}

}  // namespace diffract::kernels::cuda
