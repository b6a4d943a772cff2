#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// Which half of the last dimension goes through the gelu, and in which form.
enum class GatedGelu {
  geglu,  // first * gelu(second), exact. Source: Shazeer 2020
  t5,     // gelu(first) * second, tanh form
};

/// [..., 2 F] -> [..., F].
Tensor gated_gelu(const Tensor& x, GatedGelu kind);

namespace plain {
Tensor gated_gelu(const Tensor& x, GatedGelu kind);
}

}  // namespace diffract::kernels
