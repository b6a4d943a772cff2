#include "diffract/kernels/residual_norm.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate) {
  const Tensor sum = x + (gate.defined() ? gate * y : y);
  constexpr double kLargestHalf = 65504;
  return sum.scalar_type() == at::kHalf ? sum.clamp(-kLargestHalf, kLargestHalf) : sum;
}

ResidualNormResult plain::residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                        const ResidualNorm& n) {
  const Tensor sum = y.defined() ? gated_residual(x, y, gate) : x;
  const at::IntArrayRef width = sum.sizes().slice(static_cast<size_t>(sum.dim()) - 1);
  Tensor norm =
      n.rms ? at::rms_norm(sum, width, n.weight, n.eps) : at::layer_norm(sum, width, n.weight, n.bias, n.eps);
  if (n.scale.defined()) norm = norm.mul_(1 + n.scale).add_(n.shift);
  return {.sum = sum, .norm = n.to_float8 ? plain::round_rows(norm) : Rows(norm)};
}

Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->gated_residual(x, y, gate);
  return plain::gated_residual(x, y, gate);
}

ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->residual_norm(x, y, gate, norm);
  return plain::residual_norm(x, y, gate, norm);
}

}  // namespace diffract::kernels
