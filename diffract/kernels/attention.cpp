#include "diffract/kernels/attention.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::attention(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores) {
  const auto mask = scores.mask.defined() ? std::optional<Tensor>(scores.mask) : std::nullopt;
  return at::scaled_dot_product_attention(query, key, value, mask, 0.0, scores.causal, scores.scale);
}

Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores,
                 const Tensor& out) {
  if (const auto* cuda = cuda_kernels(query)) return cuda->attention(query, key, value, scores, out);
  const Tensor mixed = plain::attention(query, key, value, scores);
  return out.defined() ? out.copy_(mixed) : mixed;
}

void expect_attention(at::Device device, at::ScalarType type, int64_t head_width) {
  if (const auto* cuda = cuda_kernels(device)) cuda->expect_attention(device.index(), type, head_width);
}

}  // namespace diffract::kernels
