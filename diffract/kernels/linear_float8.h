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

/// As linear(), with `x` rounded to float8 row by row; half the bytes and twice the rate of bfloat16, and
/// errors of some percent a value. From column `gelu_from` of x on, a tanh gelu comes first (-1: nowhere).
Tensor linear_float8(const Tensor& x, const Float8Matrix& weight, const Tensor& bias,
                     const LinearEnd& end = {}, int64_t gelu_from = -1);

namespace plain {
Tensor linear_float8(const Tensor& x, const Float8Matrix& weight, const Tensor& bias,
                     const LinearEnd& end = {}, int64_t gelu_from = -1);
}

}  // namespace diffract::kernels
