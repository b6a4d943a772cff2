#include "diffract/nn/linear.h"

namespace diffract::nn {

Linear::Linear(const WeightScope& w, int64_t in, int64_t out, Bias bias)
    : weight_(w.weight("weight", {out, in})), bias_(bias == Bias::yes ? w.tensor("bias", {out}) : Tensor()) {}

Tensor Linear::operator()(const Tensor& x, const kernels::LinearEnd& end) const {
  return kernels::linear(x, weight_.get(), bias_, end);
}

}  // namespace diffract::nn
