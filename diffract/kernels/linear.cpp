#include "diffract/kernels/linear.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end) {
  Tensor y = at::linear(x, weight, bias);
  if (end.gelu) y = at::gelu_(y, "tanh");
  if (end.residual.defined()) y = y.add_(end.residual);
  if (!end.out.defined()) return y;
  end.out.copy_(y);
  return end.out;
}

std::vector<Tensor> plain::linear_each(const Tensor& x, const std::vector<LinearLayer>& layers) {
  std::vector<Tensor> results;
  results.reserve(layers.size());
  for (const LinearLayer& layer : layers) results.push_back(kernels::linear(x, layer.weight, layer.bias));
  return results;
}

std::vector<Tensor> linear_each(const Tensor& x, const std::vector<LinearLayer>& layers) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->linear_each(x, layers);
  return plain::linear_each(x, layers);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->linear(x, weight, bias, end);
  return plain::linear(x, weight, bias, end);
}

}  // namespace diffract::kernels
