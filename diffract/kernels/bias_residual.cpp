#include "diffract/kernels/bias_residual.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::bias_residual(const Tensor& x, const Tensor& bias, const Tensor& residual) {
  if (bias.defined()) x.add_(bias.view({1, -1, 1, 1}));
  if (residual.defined()) x.add_(residual);
  return x;
}

Tensor bias_residual(const Tensor& x, const Tensor& bias, const Tensor& residual) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->bias_residual(x, bias, residual);
  return plain::bias_residual(x, bias, residual);
}

}  // namespace diffract::kernels
