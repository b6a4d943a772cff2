#include "diffract/models/flux/flux_modulation.h"

namespace diffract::models {

FluxModulation::FluxModulation(const WeightScope& w, int64_t width, const std::vector<Norm>& norms) {
  for (const Norm& norm : norms)
    linears_.emplace_back(w.without_float8() / norm.name / "linear", width, norm.vectors * width);
}

Tensor FluxModulation::operator()(const Tensor& temb) const {
  std::vector<Tensor> all;
  for (const nn::Linear& linear : linears_) all.push_back(linear(temb));
  return all.size() == 1 ? all.front() : at::cat(all, 1);
}

}  // namespace diffract::models
