#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// negative + scale * (positive - negative) of the halves of `prediction` [2B, ...]: classifier-free
/// guidance.
Tensor guide(const Tensor& prediction, double scale);
/// x + factor * y, an explicit step of a scheduler.
Tensor step_along(const Tensor& x, const Tensor& y, double factor);

namespace plain {
Tensor guide(const Tensor& prediction, double scale);
Tensor step_along(const Tensor& x, const Tensor& y, double factor);
}  // namespace plain

}  // namespace diffract::kernels
