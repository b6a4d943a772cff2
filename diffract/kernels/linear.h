#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace diffract::kernels {

using at::Tensor;

/// What is done to a product before it is written.
struct LinearEnd {
  bool gelu = false;  // tanh form, behind the bias
  Tensor residual;    // added last; undefined: none. Not together with gelu
  Tensor out;         // [..., out], where the result goes; undefined: new memory
};

/// The same with `map` of its input.
template <typename Map>
LinearEnd map_tensors(const LinearEnd& end, Map&& map) {
  LinearEnd mapped = end;
  if (end.residual.defined()) mapped.residual = map(end.residual);
  return mapped;
}

/// x W^T + bias over the last dimension, [..., in] -> [..., out]; `weight` [out, in], `bias` [out] or
/// undefined. On a GPU what LinearEnd asks for costs no pass over memory of its own.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});

struct LinearLayer {
  Tensor weight, bias;  // [out, in]; [out] or undefined
};

/// What each of `layers` gives for the same rows `x` [rows, in], as linear() does. On a GPU that is one
/// launch where the rows are few.
std::vector<Tensor> linear_each(const Tensor& x, const std::vector<LinearLayer>& layers);

namespace plain {
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end = {});
std::vector<Tensor> linear_each(const Tensor& x, const std::vector<LinearLayer>& layers);
}  // namespace plain

}  // namespace diffract::kernels
