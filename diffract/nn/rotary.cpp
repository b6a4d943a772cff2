#include "diffract/nn/rotary.h"

namespace diffract::nn {

Tensor rotary_embedding(const Tensor& ids, const std::vector<int64_t>& axes_dims, double theta) {
  std::vector<Tensor> angles;
  for (size_t axis = 0; axis < axes_dims.size(); ++axis) {
    const auto width = static_cast<double>(axes_dims[axis]);
    const Tensor exponents = at::arange(0, axes_dims[axis], 2, ids.options().dtype(at::kDouble)) / width;
    const Tensor frequencies =
        at::pow(theta, exponents).reciprocal();  // [axes_dims / 2], float64 as diffusers
    angles.push_back(ids.select(1, static_cast<int64_t>(axis)).to(at::kDouble).outer(frequencies));
  }
  const Tensor all = at::cat(angles, 1);  // [L, d / 2]
  return at::stack({all.cos(), all.sin()}, -1).to(at::kFloat);
}

}  // namespace diffract::nn
