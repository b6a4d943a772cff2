#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// x + bias + residual for `x` [B, C, H, W], which it may overwrite, `bias` [C] and `residual` of x's shape;
/// either may be undefined. What stands behind a convolution.
Tensor bias_residual(const Tensor& x, const Tensor& bias, const Tensor& residual);

namespace plain {
Tensor bias_residual(const Tensor& x, const Tensor& bias, const Tensor& residual);
}

}  // namespace diffract::kernels
