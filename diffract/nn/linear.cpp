#include "diffract/nn/linear.h"

#include "diffract/nn/multiply.h"

namespace diffract::nn {

Linear::Linear(const WeightScope& w, int64_t in, int64_t out, Bias bias)
    : weight_(w.matrix("weight", {out, in})), bias_(bias == Bias::yes ? w.tensor("bias", {out}) : Tensor()) {}

Tensor Linear::operator()(const kernels::Rows& rows, const kernels::LinearEnd& end) const {
  return multiply(rows, weight_, bias_, end);
}

}  // namespace diffract::nn
