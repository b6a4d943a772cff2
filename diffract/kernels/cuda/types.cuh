// What the kernels share: element types, 16-byte loads, reductions within a warp.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "diffract/kernels/cuda/launch.h"

namespace diffract::kernels::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
// Within float16's largest values; what is not a number stays so.
template <typename T>
__device__ float in_range(float x) {
  return x;
}
template <>
__device__ inline float in_range<__half>(float x) {
  constexpr float kLargest = 65504;
  return x > kLargest ? kLargest : x < -kLargest ? -kLargest : x;
}

/// `N` neighbours that are loaded and stored at once.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
template <typename T, int N>
__device__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
/// The same of what nobody writes while the kernel runs: the compiler may load it before stores that stand
/// above, so that many loads are under way together.
template <typename T, int N>
__device__ Pack<T, N> load_constant(const T* from) {
  constexpr int kBytes = sizeof(Pack<T, N>);
  Pack<T, N> pack;
  const auto fill = [&]<typename Word>(Word) {
#pragma unroll
    for (int i = 0; i < kBytes / static_cast<int>(sizeof(Word)); ++i)
      reinterpret_cast<Word*>(&pack)[i] = __ldg(reinterpret_cast<const Word*>(from) + i);
  };
  if constexpr (kBytes % 16 == 0)
    fill(uint4{});
  else if constexpr (kBytes % 4 == 0)
    fill(0u);
  else
    fill(static_cast<unsigned short>(0));
  return pack;
}
template <typename T, int N>
__device__ void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

__device__ inline float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
__device__ inline float gelu_exact(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u)).
__device__ inline float gelu_tanh(float x) {
  return __fdividef(x, 1.0f + __expf(-1.59576912160573072f * (x + 0.044715f * x * x * x)));
}

/// Calls `body` with a value of the element type that `type` names.
template <typename Body>
void with_type(ElementType type, const Body& body) {
  switch (type) {
    case ElementType::float32:
      return body(float{});
    case ElementType::float16:
      return body(__half{});
    case ElementType::bfloat16:
      return body(__nv_bfloat16{});
  }
}

}  // namespace diffract::kernels::cuda
