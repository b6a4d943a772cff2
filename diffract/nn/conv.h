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
  Conv2d(const WeightScope& w, int64_t in, int64_t out, ConvShape shape = {});
  Tensor operator()(const Tensor& x) const;

 private:
  Weight weight_;  // [out, in, kernel, kernel]
  Tensor bias_;    // [out]
  ConvShape shape_;
};

}  // namespace diffract::nn
