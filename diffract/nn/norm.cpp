#include "diffract/nn/norm.h"

namespace diffract::nn {

GroupNorm::GroupNorm(const WeightScope& w, int64_t groups, int64_t channels, double eps)
    : weight_(w.tensor("weight", {channels})),
      bias_(w.tensor("bias", {channels})),
      groups_(groups),
      eps_(eps) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  return kernels::group_norm(x, {groups_, eps_, /*silu=*/false, weight_, bias_});
}

Tensor GroupNorm::activated(const Tensor& x, Activation activation, const Tensor& addend) const {
  const bool silu = activation == Activation::silu;
  Tensor normed = kernels::group_norm(x, {groups_, eps_, silu, weight_, bias_}, addend);
  return silu ? normed : activate(activation, std::move(normed));
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
    : weight_(w.tensor("weight", {width})), bias_(w.tensor("bias", {width})), eps_(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  return kernels::residual_norm(x, {}, {}, {.eps = eps_, .weight = weight_, .bias = bias_}).norm.values;
}

RMSNorm::RMSNorm(const WeightScope& w, int64_t width, double eps)
    : weight_(w.tensor("weight", {width})), eps_(eps) {}

Tensor RMSNorm::operator()(const Tensor& x) const {
  return kernels::residual_norm(x, {}, {}, {.rms = true, .eps = eps_, .weight = weight_}).norm.values;
}

}  // namespace diffract::nn
