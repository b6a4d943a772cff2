#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// What is done to a product before it is written.
struct LinearEnd {
  bool gelu = false;  // tanh form, behind the bias
  Tensor residual;    // added last; undefined: none. Not together with gelu
  Tensor out;         // [..., out], where the result goes; undefined: new memory
};

/// x W^T + bias over the last dimension, [..., in] -> [..., out]; `weight` [out, in], `bias` [out] or
/// undefined. On a GPU what LinearEnd asks for costs no pass over memory of its own.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});

namespace plain {
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});
}

}  // namespace diffract::kernels
