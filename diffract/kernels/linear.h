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

/// The same for a product on `device`.
inline LinearEnd to_device(const LinearEnd& end, at::Device device) {
  LinearEnd moved = end;
  if (end.residual.defined() && !end.residual.is_meta()) moved.residual = end.residual.to(device);
  return moved;
}

/// x W^T + bias over the last dimension, [..., in] -> [..., out]; `weight` [out, in], `bias` [out] or
/// undefined. On a GPU what LinearEnd asks for costs no pass over memory of its own.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});

/// Copies `from` [B, L, D] to the part `to` of a wider tensor.
void copy_into(const Tensor& to, const Tensor& from);

namespace plain {
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});
}

}  // namespace diffract::kernels
