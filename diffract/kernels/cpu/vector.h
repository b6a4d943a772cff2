// Functions of one number that the compiler makes vectors of. Included by kernels alone (group_norm.h says
// why).
#pragma once
#include <cstdint>

namespace {

inline float from_bits(int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
inline int32_t bits_of(float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// e to the power x within 2 units of the last place, between e^-87 and e^88. Source: Cephes' expf (x = n ln
/// 2 + r, and a polynomial of degree 7 in r).
inline float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: a sum with it has no digits behind the point
  const float shifted = x * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  float r = x - n * 0.693359375f;  // ln 2 in two parts
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float power = p * r * r + r + 1.0f;
  return power * from_bits(static_cast<int32_t>(static_cast<uint32_t>(bits_of(shifted)) << 23) + 0x3F800000);
}

inline float silu_of(float x) { return x / (1.0f + exp_of(-x)); }

}  // namespace
