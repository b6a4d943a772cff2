#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// Queries or keys `x` [B, L, heads, d]: RMS norm of each head, scaled by `weight` [d], then each pair of
/// neighbours turned by its position's angle, `rope` [L, d / 2, 2], float32. On a GPU `x`, which may be a
/// part of a larger tensor, is overwritten and returned.
Tensor norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& rope);

/// Turns pairs of neighbours alone. Source: Su et al. 2021 section 3.2.
Tensor rotary(const Tensor& x, const Tensor& rope);

namespace plain {
Tensor norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& rope);
}

}  // namespace diffract::kernels
