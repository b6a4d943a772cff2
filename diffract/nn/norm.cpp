#include "diffract/nn/norm.h"

namespace diffract::nn {

GroupNorm::GroupNorm(const WeightScope& w, int64_t groups, int64_t channels, double eps)
    : weight_(w.tensor("weight", {channels})),
      bias_(w.tensor("bias", {channels})),
      groups_(groups),
      eps_(eps) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  return at::group_norm(x, groups_, weight_, bias_, eps_);
}

GroupNorm::Affine GroupNorm::affine(const Tensor& x) const {
  const int64_t batch = x.size(0), channels = x.size(1);
  const auto [variance, mean] =
      at::var_mean(x.reshape({batch, groups_, -1}), /*dim=*/{2}, /*correction=*/0, /*keepdim=*/true);
  const Tensor deviation = at::rsqrt(variance + eps_);  // [B, groups, 1]
  const Tensor scale = weight_.view({1, groups_, -1}) * deviation;
  const Tensor shift = bias_.view({1, groups_, -1}) - mean * scale;
  return {.scale = scale.reshape({batch, channels, 1, 1}), .shift = shift.reshape({batch, channels, 1, 1})};
}

LayerNorm::LayerNorm(const WeightScope& w, int64_t width, double eps)
    : weight_(w.tensor("weight", {width})), bias_(w.tensor("bias", {width})), width_(width), eps_(eps) {}

LayerNorm::LayerNorm(int64_t width, double eps) : width_(width), eps_(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  return at::layer_norm(x, {width_}, weight_, bias_, eps_);
}

RMSNorm::RMSNorm(const WeightScope& w, int64_t width, double eps)
    : weight_(w.tensor("weight", {width})), width_(width), eps_(eps) {}

Tensor RMSNorm::operator()(const Tensor& x) const { return at::rms_norm(x, {width_}, weight_, eps_); }

}  // namespace diffract::nn
