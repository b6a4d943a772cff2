#pragma once
#include <ATen/ATen.h>

#include "diffract/kernels/linear.h"
#include "diffract/kernels/linear_float8.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::nn {

using at::Tensor;
using weights::Weight;
using weights::WeightScope;

enum class Bias { yes, no };

/// y = x W^T + b over the last dimension: [..., in] -> [..., out].
class Linear {
 public:
  Linear(const WeightScope& w, int64_t in, int64_t out, Bias bias = Bias::yes);
  Linear(Weight weight, Tensor scales, Tensor bias)
      : weight_(std::move(weight)), scales_(std::move(scales)), bias_(std::move(bias)) {}
  /// `end`: what is done to the product before it is written. Rows in float8 are for layers that are.
  Tensor operator()(const kernels::Rows& x, const kernels::LinearEnd& end = {}) const;

  bool is_float8() const { return scales_.defined(); }
  const Tensor& scales() const { return scales_; }
  const Weight& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  Weight weight_;  // [out, in]
  Tensor scales_;  // [out, 1] of a weight in float8, undefined otherwise
  Tensor bias_;    // [out], undefined without one
};

}  // namespace diffract::nn
