#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

struct GroupNorm {
  int64_t groups;
  double eps;
  bool silu;            // x * sigmoid(x) behind the norm
  Tensor weight, bias;  // [C]
};

/// GroupNorm of `x` [B, C, H, W], to which `addend` [1 or B, C] is added first where it is defined, with the
/// activation behind it. On a GPU `x` is best channels-last, as the result is; on a CPU it is overwritten
/// where there is an addend.
Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend = {});

namespace plain {
Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend = {});
}

}  // namespace diffract::kernels
