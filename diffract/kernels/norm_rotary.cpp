#include "diffract/kernels/norm_rotary.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor rotary(const Tensor& x, const Tensor& rope) {
  const auto pairs = x.sizes().slice(0, 3).vec();
  const Tensor numbers = at::view_as_complex(
      x.to(at::kFloat).contiguous().view({pairs[0], pairs[1], pairs[2], x.size(3) / 2, 2}));
  const Tensor turned = numbers * at::view_as_complex(rope).unsqueeze(1);  // [B, L, heads, d / 2]
  return at::view_as_real(turned).flatten(3).to(x.scalar_type());
}

QueryKey plain::norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope) {
  const auto one = [&](const Tensor& of, const Tensor& by) {
    return rotary(at::rms_norm(of, of.sizes().slice(3), by, eps), rope);
  };
  return {.query = one(x.query, weight.query), .key = one(x.key, weight.key)};
}

QueryKey norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope) {
  if (const auto* cuda = cuda_kernels(x.query)) return cuda->norm_rotary(x, weight, eps, rope);
  return plain::norm_rotary(x, weight, eps, rope);
}

}  // namespace diffract::kernels
