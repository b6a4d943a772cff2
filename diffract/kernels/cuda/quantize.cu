#include <cuda_fp8.h>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr float kLargest = 448.0f;  // of e4m3
constexpr int kPacks = 8;           // a thread keeps in registers: rows of up to 8 * 256 * 8 elements

template <typename T, int N>
__global__ void __launch_bounds__(kThreads) quantize_kernel(QuantizeLaunch l) {
  __shared__ float shared[kWarps];
  const int64_t row = blockIdx.x;
  const int packs = static_cast<int>(l.width) / N;
  const T* x = static_cast<const T*>(l.x) + row * l.row_stride;
  Pack<T, N> kept[kPacks];
  float most = 0;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = p * kThreads + static_cast<int>(threadIdx.x);
    if (pack >= packs) break;
    kept[p] = load<T, N>(x + pack * N);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (pack * N >= l.gelu_from) kept[p].at[i] = from_float<T>(gelu_tanh(to_float(kept[p].at[i])));
      most = fmaxf(most, fabsf(to_float(kept[p].at[i])));
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = most;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kWarps; ++i) most = fmaxf(most, shared[i]);
  const float scale = fmaxf(most, 1e-12f) / kLargest;
  if (threadIdx.x == 0) l.scales[row] = scale;
  const float inverse = 1.0f / scale;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = p * kThreads + static_cast<int>(threadIdx.x);
    if (pack >= packs) break;
    Pack<__nv_fp8_storage_t, N> narrow;
#pragma unroll
    for (int i = 0; i < N; ++i)
      narrow.at[i] = __nv_cvt_float_to_fp8(to_float(kept[p].at[i]) * inverse, __NV_SATFINITE, __NV_E4M3);
    store<__nv_fp8_storage_t, N>(static_cast<__nv_fp8_storage_t*>(l.out) + row * l.width + pack * N, narrow);
  }
}

}  // namespace

cudaError_t quantize_rows(const QuantizeLaunch& l, cudaStream_t stream) {
  cudaError_t result = cudaSuccess;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    if (l.width % kWide != 0 || l.row_stride % kWide != 0 || l.width > kPacks * kThreads * kWide) {
      result = cudaErrorInvalidValue;
      return;
    }
    quantize_kernel<T, kWide><<<static_cast<unsigned>(l.rows), kThreads, 0, stream>>>(l);
    result = cudaGetLastError();
  });
  return result;
}

}  // namespace diffract::kernels::cuda
