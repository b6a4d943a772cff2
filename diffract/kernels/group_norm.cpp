#include "diffract/kernels/group_norm.h"

#include <ATen/Parallel.h>

#include "diffract/kernels/cpu_kernels.h"
#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {
namespace {

bool is_plain_float(const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_contiguous(); }

bool fits(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (x.dim() != 4 || x.numel() == 0 || x.size(1) % norm.groups != 0 || norm.weight.numel() != x.size(1))
    return false;
  const bool has_fitting_addend =
      !addend.defined() || (is_plain_float(addend) && addend.dim() == 2 && addend.size(1) == x.size(1) &&
                            (addend.size(0) == 1 || addend.size(0) == x.size(0)));
  return is_plain_float(x) && is_plain_float(norm.weight) && is_plain_float(norm.bias) && has_fitting_addend;
}

Tensor on_cpu(const CpuKernels& kernels, const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  const int64_t channels = x.size(1), of_group = channels / norm.groups, pixels = x.size(2) * x.size(3);
  Tensor out = at::empty_like(x);
  const auto* const added = addend.defined() ? addend.const_data_ptr<float>() : nullptr;
  const bool one_for_all = added && addend.size(0) == 1;
  at::parallel_for(0, x.size(0) * norm.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = i * of_group, of_image = channel % channels;
      kernels.group_norm({.x = x.const_data_ptr<float>() + channel * pixels,
                          .addend = added ? added + (one_for_all ? of_image : channel) : nullptr,
                          .weight = norm.weight.const_data_ptr<float>() + of_image,
                          .bias = norm.bias.const_data_ptr<float>() + of_image,
                          .out = out.data_ptr<float>() + channel * pixels,
                          .channels = of_group,
                          .pixels = pixels,
                          .eps = norm.eps,
                          .silu = norm.silu});
    }
  });
  return out;
}

}  // namespace

Tensor plain::group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (addend.defined()) x.add_(addend.unsqueeze(-1).unsqueeze(-1));
  Tensor normed = at::group_norm(x, norm.groups, norm.weight, norm.bias, norm.eps);
  return norm.silu ? at::silu_(normed) : normed;
}

Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->group_norm(x, norm, addend);
  if (const auto* cpu = cpu_kernels(x); cpu && fits(x, norm, addend)) return on_cpu(*cpu, x, norm, addend);
  return plain::group_norm(x, norm, addend);
}

}  // namespace diffract::kernels
