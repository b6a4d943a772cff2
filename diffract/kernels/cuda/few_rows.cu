#include <algorithm>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

// Products of one or a few rows, such as a time embedding's: all that counts is how soon the weight is read,
// which matrix units do not help with.
namespace diffract::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kInFlight = 4;  // packs of the weight that a thread waits for at once

// A warp a column of a layer's result; blockIdx.y is the layer.
template <typename T, int N, int Rows>
__global__ void __launch_bounds__(32 * kWarps) few_rows_kernel(const __grid_constant__ FewRowsLaunch l) {
  const FewRowsLayer& layer = l.layer[blockIdx.y];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (column >= layer.out) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, packs = static_cast<int>(l.in) / N;
  const T* weight = static_cast<const T*>(layer.weight) + column * l.in;
  const T* x = static_cast<const T*>(l.x);
  float sums[Rows] = {};
  for (int first = lane; first < packs; first += 32 * kInFlight) {
    Pack<T, N> w[kInFlight];
#pragma unroll
    for (int p = 0; p < kInFlight; ++p)
      if (first + 32 * p < packs) w[p] = load<T, N>(weight + (first + 32 * p) * N);
#pragma unroll
    for (int p = 0; p < kInFlight; ++p) {
      if (first + 32 * p >= packs) continue;
#pragma unroll
      for (int row = 0; row < Rows; ++row) {
        const auto values = load<T, N>(x + row * l.x_stride + (first + 32 * p) * N);
#pragma unroll
        for (int i = 0; i < N; ++i) sums[row] = fmaf(to_float(values.at[i]), to_float(w[p].at[i]), sums[row]);
      }
    }
  }
#pragma unroll
  for (int row = 0; row < Rows; ++row) {
    sums[row] = warp_sum(sums[row]);
    if (lane != 0) continue;
    if (layer.bias) sums[row] += to_float(static_cast<const T*>(layer.bias)[column]);
    static_cast<T*>(layer.y)[row * layer.out + column] = from_float<T>(sums[row]);
  }
}

}  // namespace

cudaError_t few_rows(const FewRowsLaunch& l, cudaStream_t stream) {
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    int64_t widest = 1;
    for (int i = 0; i < l.layers; ++i) widest = std::max(widest, l.layer[i].out);
    const dim3 blocks(static_cast<unsigned>((widest + kWarps - 1) / kWarps), static_cast<unsigned>(l.layers));
    if (l.rows == 1)
      few_rows_kernel<T, kWide, 1><<<blocks, 32 * kWarps, 0, stream>>>(l);
    else if (l.rows == 2)
      few_rows_kernel<T, kWide, 2><<<blocks, 32 * kWarps, 0, stream>>>(l);
    else if (l.rows == 3)
      few_rows_kernel<T, kWide, 3><<<blocks, 32 * kWarps, 0, stream>>>(l);
    else
      few_rows_kernel<T, kWide, 4><<<blocks, 32 * kWarps, 0, stream>>>(l);
  });
  return cudaGetLastError();
}

}  // namespace diffract::kernels::cuda
