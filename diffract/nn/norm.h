#pragma once
#include "diffract/kernels/group_norm.h"
#include "diffract/kernels/residual_norm.h"
#include "diffract/nn/activation.h"
#include "diffract/nn/linear.h"

namespace diffract::nn {

/// Normalises each of `groups` groups of channels of [B, C, ...] over the group and all positions.
class GroupNorm {
 public:
  GroupNorm(const WeightScope& w, int64_t groups, int64_t channels, double eps);
  Tensor operator()(const Tensor& x) const;
  /// activate(norm(x + addend)), `addend` [1 or B, C] or undefined; with an addend `x` may be overwritten.
  Tensor activated(const Tensor& x, Activation activation, const Tensor& addend = {}) const;
  Tensor operator()(const Tensor& x, Activation activation) const { return activated(x, activation); }

  /// The norm of `x` as one scale and one shift a channel, each [B, C, 1, 1]: x * scale + shift is what the
  /// norm gives, so that it can be computed band by band.
  struct Affine {
    Tensor scale, shift;
  };
  Affine affine(const Tensor& x) const;

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
  double eps_;
};

/// Divides the last dimension of [..., width] by its root mean square and scales it.
class RMSNorm {
 public:
  RMSNorm(const WeightScope& w, int64_t width, double eps);
  Tensor operator()(const Tensor& x) const;
  const Tensor& weight() const { return weight_; }
  double eps() const { return eps_; }

 private:
  Tensor weight_;  // [width]
  double eps_;
};

}  // namespace diffract::nn
