#pragma once
#include <ATen/ATen.h>

#include "diffract/kernels/linear_float8.h"

namespace diffract::kernels {

using at::Tensor;

/// A norm of the last dimension and what stands around it in a transformer block.
struct ResidualNorm {
  bool rms = false;  // root mean square: no mean taken off
  double eps = 1e-6;
  Tensor weight, bias;     // [D], undefined: none
  Tensor scale, shift;     // [B, 1, D], undefined: none; the norm's result * (1 + scale) + shift
  bool to_float8 = false;  // the norm is rounded for a product in float8
};

struct ResidualNormResult {
  Tensor sum;  // x + gate * y, or x
  Rows norm;   // of the sum
};

/// norm(x + gate * y), the sum as gated_residual's, for `x` and `y` [B, L, D] (`y` undefined: norm(x)) and
/// `gate` [B, 1, D] (undefined: 1). On a GPU one pass over memory.
ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm);
/// x + gate * y; in float16 within its largest values, 65504, as diffusers clips the sums of FLUX's blocks.
Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate);

namespace plain {
ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm);
Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate);
}  // namespace plain

}  // namespace diffract::kernels
