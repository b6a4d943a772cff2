#include "diffract/nn/linear.h"

#include "diffract/nn/expected_work.h"

namespace diffract::nn {

Linear::Linear(const WeightScope& w, int64_t in, int64_t out, Bias bias)
    : weight_(w.weight("weight", {out, in})), bias_(bias == Bias::yes ? w.tensor("bias", {out}) : Tensor()) {
  if (!w.float8() || !kernels::can_multiply_float8(weight_.stored(), w.smallest_float8())) return;
  const auto narrow = kernels::to_float8(weight_.stored());
  weight_ = Weight(narrow.values, at::kFloat8_e4m3fn);
  scales_ = narrow.scales;
}

Tensor Linear::operator()(const kernels::Rows& rows, const kernels::LinearEnd& end) const {
  if (is_float8()) return kernels::linear_float8(rows, {weight_.stored(), scales_}, bias_, end);
  const Tensor &x = rows.values, weight = weight_.get();
  expect_work(x, 2.0 * static_cast<double>(x.numel()) * static_cast<double>(weight.size(0)), weight.nbytes());
  return kernels::linear(x, weight, bias_, end);
}

}  // namespace diffract::nn
