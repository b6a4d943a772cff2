#include "diffract/kernels/cuda/float8.cuh"
#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 384;  // FLUX's rows of 3072, 12288 and 15360 in 1, 4 and 5 packs a thread
constexpr int kWarps = kThreads / 32;

// One instruction's tanh: off by 2^-11, of which rounding to float8 leaves nothing.
__device__ float rough_gelu_tanh(float x) {
  float t;
  asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(x * fmaf(x * x, 0.035677408136f, 0.79788456080f)));
  const float half = 0.5f * x;
  return fmaf(half, t, half);
}

// A block a row, which lies in the threads' registers.
template <typename T, int N, int Packs>
__global__ void __launch_bounds__(kThreads) round_rows_kernel(RoundRowsLaunch l) {
  __shared__ float shared[kWarps];
  const int64_t row = blockIdx.x;
  const int x_packs = static_cast<int>(l.x_width) / N, packs = x_packs + static_cast<int>(l.hidden_width) / N;
  const T* x = static_cast<const T*>(l.x) + row * l.x_stride;
  const T* hidden = static_cast<const T*>(l.hidden) + row * l.hidden_stride;
  Pack<T, N> kept[Packs];
#pragma unroll
  for (int p = 0; p < Packs; ++p) {
    const int pack = p * kThreads + static_cast<int>(threadIdx.x);
    if (pack < x_packs)
      kept[p] = load<T, N>(x + pack * N);
    else if (pack < packs)
      kept[p] = load<T, N>(hidden + (pack - x_packs) * N);
  }
  float most = 0, values[Packs][N];
#pragma unroll
  for (int p = 0; p < Packs; ++p) {
    const int pack = p * kThreads + static_cast<int>(threadIdx.x);
    if (pack >= packs) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) values[p][i] = to_float(kept[p].at[i]);
    if (pack >= x_packs)
#pragma unroll
      for (int i = 0; i < N; ++i) values[p][i] = rough_gelu_tanh(values[p][i]);
#pragma unroll
    for (int i = 0; i < N; ++i) most = fmaxf(most, fabsf(values[p][i]));
  }
  most = warp_max(most);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = most;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kWarps; ++i) most = fmaxf(most, shared[i]);
  const float scale = float8_scale(most);
  if (threadIdx.x == 0) l.scales[row] = scale;
  const float inverse = 1.0f / scale;
  Float8* out = static_cast<Float8*>(l.out) + row * (l.x_width + l.hidden_width);
#pragma unroll
  for (int p = 0; p < Packs; ++p) {
    const int pack = p * kThreads + static_cast<int>(threadIdx.x);
    if (pack < packs) store<Float8, N>(out + pack * N, to_float8<N>(values[p], inverse));
  }
}

}  // namespace

cudaError_t round_rows(const RoundRowsLaunch& l, cudaStream_t stream) {
  cudaError_t result = cudaSuccess;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    const int64_t packs = (l.x_width + l.hidden_width) / kWide;
    const auto rows = static_cast<unsigned>(l.rows);
    if (packs <= kThreads)
      round_rows_kernel<T, kWide, 1><<<rows, kThreads, 0, stream>>>(l);
    else if (packs <= 2 * kThreads)
      round_rows_kernel<T, kWide, 2><<<rows, kThreads, 0, stream>>>(l);
    else if (packs <= 5 * kThreads)
      round_rows_kernel<T, kWide, 5><<<rows, kThreads, 0, stream>>>(l);
    else
      round_rows_kernel<T, kWide, 8><<<rows, kThreads, 0, stream>>>(l);
    result = cudaGetLastError();
  });
  return result;
}

}  // namespace diffract::kernels::cuda
