#pragma once
#include "diffract/nn/linear.h"

namespace diffract::nn {

struct ConvShape {
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t padding = 1;
};

/// 2-D convolution: [B, in, H, W] -> [B, out, H', W'].
class Conv2d {
 public:
  Conv2d(const WeightScope& w, int64_t in, int64_t out, ConvShape shape = {}, Bias bias = Bias::yes);
  /// The convolution of `x`, plus `residual` where it is defined. On a GPU the result is channels-last.
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const;
  /// Without the bias, for those who add it later.
  Tensor without_bias(const Tensor& x) const;
  const Tensor& bias() const { return bias_; }

 private:
  Weight weight_;  // [out, in, kernel, kernel]
  Tensor bias_;    // [out], undefined without one
  ConvShape shape_;

  bool is_pointwise() const { return shape_.kernel == 1 && shape_.stride == 1 && shape_.padding == 0; }
};

}  // namespace diffract::nn
