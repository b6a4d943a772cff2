#include "diffract/nn/conv.h"

#include "diffract/nn/expected_work.h"

namespace diffract::nn {

Conv2d::Conv2d(const WeightScope& w, int64_t in, int64_t out, ConvShape shape)
    : weight_(w.weight("weight", {out, in, shape.kernel, shape.kernel})),
      bias_(w.tensor("bias", {out})),
      shape_(shape) {}

Tensor Conv2d::operator()(const Tensor& x) const {
  const Tensor weight = weight_.get();
  const double pixels =
      static_cast<double>(x.numel()) / static_cast<double>(x.size(-3) * shape_.stride * shape_.stride);
  expect_work(x, 2.0 * pixels * static_cast<double>(weight.numel()), weight.nbytes());
  return at::conv2d(x, weight, bias_, shape_.stride, shape_.padding);
}

}  // namespace diffract::nn
