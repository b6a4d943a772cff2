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

LayerNorm::LayerNorm(const WeightScope& w, int64_t width, double eps)
    : weight_(w.tensor("weight", {width})), bias_(w.tensor("bias", {width})), width_(width), eps_(eps) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  return at::layer_norm(x, {width_}, weight_, bias_, eps_);
}

}  // namespace diffract::nn
