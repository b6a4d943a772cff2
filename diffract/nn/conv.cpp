#include "diffract/nn/conv.h"

namespace diffract::nn {

Conv2d::Conv2d(const WeightScope& w, int64_t in, int64_t out, ConvShape shape)
    : weight_(w.weight("weight", {out, in, shape.kernel, shape.kernel})),
      bias_(w.tensor("bias", {out})),
      shape_(shape) {}

Tensor Conv2d::operator()(const Tensor& x) const {
  return at::conv2d(x, weight_.get(), bias_, shape_.stride, shape_.padding);
}

}  // namespace diffract::nn
