#pragma once
#include <ATen/ATen.h>

#include "diffract/kernels/linear.h"

namespace diffract::kernels {

/// A matrix [out, in] in float8 (e4m3: 4 bits of exponent, 3 of mantissa), each row with a scale of its own:
/// values * scales is what it stands for.
struct Float8Matrix {
  Tensor values;  // [out, in], float8_e4m3fn
  Tensor scales;  // [out, 1], float32
};
Float8Matrix to_float8(const Tensor& matrix);
/// True when the device of `weight` multiplies in float8, and neither side is below `smallest` (or not a
/// multiple of 16).
bool can_multiply_float8(const Tensor& weight, int64_t smallest);

/// Rows [B, L, D] as a product reads them: as they are, or rounded to float8, each with a scale of its own.
struct Rows {
  Tensor values;
  Tensor scales;  // [B, L, 1], float32; undefined: the values are what they are

  Rows() = default;
  Rows(Tensor as_they_are) : values(std::move(as_they_are)) {}  // NOLINT(google-explicit-constructor)
  Rows(Tensor rounded, Tensor scale_a_row) : values(std::move(rounded)), scales(std::move(scale_a_row)) {}
  bool is_float8() const { return scales.defined(); }
  /// Those from `begin` to before `end` of a picture's.
  Rows slice(int64_t begin, int64_t end) const {
    if (!is_float8()) return values.slice(1, begin, end);
    return {values.slice(1, begin, end).contiguous(), scales.slice(1, begin, end).contiguous()};
  }
};

/// `x` [B, L, D] rounded to float8.
Rows round_rows(const Tensor& x);
/// The same of `x` [B, L, D] (undefined: none) beside tanh gelu(hidden) [B, L, F], as rows of D + F.
Rows round_beside_gelu(const Tensor& x, const Tensor& hidden);

/// As linear(), for rows in float8 (others are rounded); half the bytes and twice the rate of bfloat16, and
/// errors of some percent a value. The result is bfloat16 on a GPU.
Tensor linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias,
                     const LinearEnd& end = {});

namespace plain {
Rows round_rows(const Tensor& x);
Rows round_beside_gelu(const Tensor& x, const Tensor& hidden);
/// In the type of `bias`, or float32.
Tensor linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias,
                     const LinearEnd& end = {});
}  // namespace plain

}  // namespace diffract::kernels
