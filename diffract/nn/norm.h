#pragma once
#include "diffract/nn/linear.h"

namespace diffract::nn {

/// Normalises each of `groups` groups of channels of [B, C, ...] over the group and all positions.
class GroupNorm {
 public:
  GroupNorm(const WeightScope& w, int64_t groups, int64_t channels, double eps);
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weight_, bias_;  // [C]
  int64_t groups_;
  double eps_;
};

/// Normalises the last dimension of [..., width].
class LayerNorm {
 public:
  LayerNorm(const WeightScope& w, int64_t width, double eps = 1e-5);
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weight_, bias_;  // [width]
  int64_t width_;
  double eps_;
};

}  // namespace diffract::nn
