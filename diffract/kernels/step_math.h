#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// negative + scale * (positive - negative) of the halves of `prediction` [2B, ...]: classifier-free
/// guidance.
Tensor guide(const Tensor& prediction, double scale);

namespace plain {
Tensor guide(const Tensor& prediction, double scale);
}  // namespace plain

}  // namespace diffract::kernels
