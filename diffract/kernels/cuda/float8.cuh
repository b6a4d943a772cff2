// Rounding to float8 (e4m3): the values of a row divided by the row's scale.
#pragma once
#include <cuda_fp8.h>

#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {

using Float8 = __nv_fp8_storage_t;

/// The scale of a row whose largest magnitude is `most`: the largest e4m3 stands for it.
__device__ inline float float8_scale(float most) { return fmaxf(most, 1e-12f) / 448.0f; }

template <int N>
__device__ Pack<Float8, N> to_float8(const float (&x)[N], float inverse_scale) {
  Pack<Float8, N> narrow;
  if constexpr (N % 2 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 2) {  // the GPU rounds two at once
      const __nv_fp8x2_storage_t two = __nv_cvt_float2_to_fp8x2(
          make_float2(x[i] * inverse_scale, x[i + 1] * inverse_scale), __NV_SATFINITE, __NV_E4M3);
      narrow.at[i] = static_cast<Float8>(two & 0xff);
      narrow.at[i + 1] = static_cast<Float8>(two >> 8);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      narrow.at[i] = __nv_cvt_float_to_fp8(x[i] * inverse_scale, __NV_SATFINITE, __NV_E4M3);
  }
  return narrow;
}

}  // namespace diffract::kernels::cuda
