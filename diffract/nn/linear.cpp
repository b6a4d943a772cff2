#include "diffract/nn/linear.h"

#include "diffract/nn/expected_work.h"

namespace diffract::nn {

Linear::Linear(const WeightScope& w, int64_t in, int64_t out, Bias bias)
    : weight_(w.weight("weight", {out, in})), bias_(bias == Bias::yes ? w.tensor("bias", {out}) : Tensor()) {}

Tensor Linear::operator()(const Tensor& x) const {
  const Tensor weight = weight_.get();
  expect_work(x, 2.0 * static_cast<double>(x.numel()) * static_cast<double>(weight.size(0)), weight.nbytes());
  return at::linear(x, weight, bias_);
}

}  // namespace diffract::nn
