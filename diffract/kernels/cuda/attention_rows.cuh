// The rows of attention_kernel.cuh: scores to weights, and outputs to memory.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace diffract::kernels::cuda::hopper {

__device__ inline float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <typename T>
__device__ uint32_t pack(float low, float high);
template <>
__device__ inline uint32_t pack<__nv_bfloat16>(float low, float high) {
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
template <>
__device__ inline uint32_t pack<__half>(float low, float high) {
  uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// The largest sum of a thread's weights in a tile that is left as it is: T holds each of them, and float32
// the sums over all tiles.
template <typename T>
constexpr float kLargeSum = 1152921504606846976.0f;  // 2^60
template <>
constexpr float kLargeSum<__half> = 32768.0f;

// A thread has parts of two rows of a tile, four neighbours in its warp have a row: scores [2 i] and [2 i +
// 1] belong to row i % 2.
struct Rows {
  float reference[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};  // of this thread's weights
  float change[2];        // what the outputs before a new reference are multiplied with
};

template <int N>
__device__ __forceinline__ void raise_reference(const float (&scores)[N], Rows& rows) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float even = scores[2 * r], odd = scores[2 * r + 1];
#pragma unroll
    for (int i = 4; i < N; i += 4) {
      even = fmaxf(even, scores[i + 2 * r]);
      odd = fmaxf(odd, scores[i + 2 * r + 1]);
    }
    float most = fmaxf(even, odd);
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
    rows.reference[r] = fmaxf(rows.reference[r], most);
  }
}

template <typename T, int N>
__device__ __forceinline__ void weigh(const float (&scores)[N], uint32_t (&weights)[N / 2], const Rows& rows,
                                      float scale, float (&sum)[2]) {
  const float less[2] = {rows.reference[0] * scale, rows.reference[1] * scale};
  float even[2] = {0, 0}, odd[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < N / 2; ++i) {
    const float a = exp2_of(fmaf(scores[2 * i], scale, -less[i % 2]));
    const float b = exp2_of(fmaf(scores[2 * i + 1], scale, -less[i % 2]));
    even[i % 2] += a;
    odd[i % 2] += b;
    weights[i] = pack<T>(a, b);
  }
  sum[0] = even[0] + odd[0];
  sum[1] = even[1] + odd[1];
}

// True when the reference was raised. A sum that is no number raises it, too: the row will be none either
// way.
template <typename T, int N>
__device__ __forceinline__ bool weigh_or_raise(const float (&scores)[N], uint32_t (&weights)[N / 2],
                                               Rows& rows, float scale) {
  float sum[2];
  weigh<T>(scores, weights, rows, scale, sum);
  const bool fits = sum[0] <= kLargeSum<T> && sum[1] <= kLargeSum<T>;
  const bool raise = __any_sync(0xffffffffu, !fits);
  if (__builtin_expect(raise, 0)) {
    const float before[2] = {rows.reference[0], rows.reference[1]};
    raise_reference(scores, rows);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      rows.change[r] = exp2_of((before[r] - rows.reference[r]) * scale);
      rows.sum[r] *= rows.change[r];
    }
    weigh<T>(scores, weights, rows, scale, sum);
  }
  rows.sum[0] += sum[0];
  rows.sum[1] += sum[1];
  return raise;
}

// Rows of outputs, each divided by its sum, to rows that lie `row_stride` elements apart.
template <typename T>
__device__ __forceinline__ void store_rows(const float (&outputs)[64], const Rows& rows, T* out,
                                           int64_t row_stride, int rows_left) {
  const int t = threadIdx.x % 4;
  const bool odd = t % 2 != 0, high = t / 2 != 0;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const float factor = 1.0f / sum;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      uint32_t x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = 16 * c + 4 * i + 2 * r;
        x[i] = pack<T>(outputs[at] * factor, outputs[at + 1] * factor);
      }
      // A transposition among the four that have the row, so that each writes 16 neighbouring bytes.
      const uint32_t a = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1);
      const uint32_t b = __shfl_xor_sync(0xffffffffu, odd ? x[2] : x[3], 1);
      if (odd) {
        x[0] = a, x[2] = b;
      } else {
        x[1] = a, x[3] = b;
      }
      const uint32_t d = __shfl_xor_sync(0xffffffffu, high ? x[0] : x[2], 2);
      const uint32_t e = __shfl_xor_sync(0xffffffffu, high ? x[1] : x[3], 2);
      if (high) {
        x[0] = d, x[1] = e;
      } else {
        x[2] = d, x[3] = e;
      }
      if (8 * r < rows_left)
        *reinterpret_cast<uint4*>(out + 8 * r * row_stride + 32 * c + 8 * t) =
            make_uint4(x[0], x[1], x[2], x[3]);
    }
  }
}

}  // namespace diffract::kernels::cuda::hopper
