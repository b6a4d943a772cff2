#include "diffract/kernels/group_norm.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (addend.defined()) x.add_(addend.unsqueeze(-1).unsqueeze(-1));
  Tensor normed = at::group_norm(x, norm.groups, norm.weight, norm.bias, norm.eps);
  return norm.silu ? at::silu_(normed) : normed;
}

Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->group_norm(x, norm, addend);
  return plain::group_norm(x, norm, addend);
}

}  // namespace diffract::kernels
