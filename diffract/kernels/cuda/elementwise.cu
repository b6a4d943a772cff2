#include <algorithm>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Items that 32 bits count, the step beyond the last one too.
constexpr int64_t kShort = int64_t{1} << 31;

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, 132 * 64));
}

// Index: of 32 bits where that is enough, since a division of 64 takes as long as the rest.
template <typename T, int N, typename Index>
__global__ void __launch_bounds__(kThreads) gated_gelu_kernel(GatedGeluLaunch l) {
  const Index packs = static_cast<Index>(l.width / N), items = static_cast<Index>(l.rows) * packs;
  for (Index item = blockIdx.x * kThreads + threadIdx.x; item < items; item += gridDim.x * kThreads) {
    const Index row = item / packs, pack = item % packs;
    const T* x = static_cast<const T*>(l.x) + int64_t{row} * 2 * l.width + pack * N;
    auto plain = load<T, N>(x + (l.gate_first ? l.width : 0));
    const auto gate = load<T, N>(x + (l.gate_first ? 0 : l.width));
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float g = to_float(gate.at[i]);
      plain.at[i] = from_float<T>(to_float(plain.at[i]) * (l.tanh ? gelu_tanh(g) : gelu_exact(g)));
    }
    store<T, N>(static_cast<T*>(l.out) + int64_t{row} * l.width + pack * N, plain);
  }
}

template <typename T, int N, typename Index>
__global__ void __launch_bounds__(kThreads) bias_residual_kernel(BiasResidualLaunch l) {
  const Index items = static_cast<Index>(l.elements / N), packs = static_cast<Index>(l.channels / N);
  for (Index item = blockIdx.x * kThreads + threadIdx.x; item < items; item += gridDim.x * kThreads) {
    auto values = load<T, N>(static_cast<const T*>(l.x) + int64_t{item} * N);
    float sum[N];
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] = to_float(values.at[i]);
    if (l.bias) {
      const auto bias = load<T, N>(static_cast<const T*>(l.bias) + item % packs * N);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += to_float(bias.at[i]);
    }
    if (l.residual) {
      const auto residual = load<T, N>(static_cast<const T*>(l.residual) + int64_t{item} * N);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += to_float(residual.at[i]);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) values.at[i] = from_float<T>(sum[i]);
    store<T, N>(static_cast<T*>(l.out) + int64_t{item} * N, values);
  }
}

__global__ void __launch_bounds__(kThreads)
    copy_rows_kernel(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t packs,
                     int64_t items) {
  for (int64_t item = blockIdx.x * kThreads + threadIdx.x; item < items; item += gridDim.x * kThreads) {
    const int64_t row = item / packs, pack = item % packs;
    store<char, 16>(to + row * to_stride + pack * 16, load<char, 16>(from + row * from_stride + pack * 16));
  }
}

__global__ void __launch_bounds__(kThreads)
    guide_kernel(const float* negative, const float* positive, float scale, float* out, int64_t elements) {
  for (int64_t i = blockIdx.x * kThreads + threadIdx.x; i < elements; i += gridDim.x * kThreads)
    out[i] = negative[i] + scale * (positive[i] - negative[i]);
}

}  // namespace

cudaError_t gated_gelu(const GatedGeluLaunch& l, cudaStream_t stream) {
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    const int64_t elements = l.rows * l.width;
    if (l.width % kWide != 0)
      gated_gelu_kernel<T, 1, int64_t><<<blocks_for(elements), kThreads, 0, stream>>>(l);
    else if (elements / kWide < kShort)
      gated_gelu_kernel<T, kWide, uint32_t><<<blocks_for(elements / kWide), kThreads, 0, stream>>>(l);
    else
      gated_gelu_kernel<T, kWide, int64_t><<<blocks_for(elements / kWide), kThreads, 0, stream>>>(l);
  });
  return cudaGetLastError();
}

cudaError_t bias_residual(const BiasResidualLaunch& l, cudaStream_t stream) {
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    if (l.channels % kWide != 0)
      bias_residual_kernel<T, 1, int64_t><<<blocks_for(l.elements), kThreads, 0, stream>>>(l);
    else if (l.elements / kWide < kShort)
      bias_residual_kernel<T, kWide, uint32_t><<<blocks_for(l.elements / kWide), kThreads, 0, stream>>>(l);
    else
      bias_residual_kernel<T, kWide, int64_t><<<blocks_for(l.elements / kWide), kThreads, 0, stream>>>(l);
  });
  return cudaGetLastError();
}

cudaError_t copy_rows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
                      int64_t rows, cudaStream_t stream) {
  const int64_t packs = bytes / 16;
  copy_rows_kernel<<<blocks_for(rows * packs), kThreads, 0, stream>>>(
      static_cast<const char*>(from), from_stride, static_cast<char*>(to), to_stride, packs, rows * packs);
  return cudaGetLastError();
}

cudaError_t guide(const float* negative, const float* positive, float scale, float* out, int64_t elements,
                  cudaStream_t stream) {
  guide_kernel<<<blocks_for(elements), kThreads, 0, stream>>>(negative, positive, scale, out, elements);
  return cudaGetLastError();
}

}  // namespace diffract::kernels::cuda
