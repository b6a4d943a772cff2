#pragma once
#include "diffract/kernels/linear.h"
#include "diffract/weights/weight.h"

namespace diffract::nn {

/// x W^T + bias over the last dimension, whatever the weight's encoding is: the one place where a layer's
/// rows meet a weight. `end`: what is done to the product before it is written. Rows in float8 are for
/// weights that want them.
at::Tensor multiply(const kernels::Rows& rows, const weights::Weight& weight, const at::Tensor& bias,
                    const kernels::LinearEnd& end);

}  // namespace diffract::nn
