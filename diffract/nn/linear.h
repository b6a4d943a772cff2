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
  Linear(Weight weight, Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  /// As multiply().
  Tensor operator()(const kernels::Rows& x, const kernels::LinearEnd& end = {}) const;

  bool wants_rounded_rows() const { return weight_.wants_rounded_rows(); }
  const Weight& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  Weight weight_;  // [out, in]
  Tensor bias_;    // [out], undefined without one
};

}  // namespace diffract::nn
