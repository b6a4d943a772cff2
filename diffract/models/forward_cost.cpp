#include "diffract/models/forward_cost.h"

#include <algorithm>

namespace diffract::models {
using weights::WeightScope;

Cost forward_cost(const ConfigReader& config, const ForwardShape& shape, const tensor::DtypePolicy& policy) {
  const ModelClass& model_class = find_model_class(class_name_of(config), config.source());
  int64_t largest_weight = 0;  // elements
  const WeightScope w(weights::meta_source([&](const std::string&, at::IntArrayRef sizes) {
                        largest_weight = std::max(largest_weight, c10::multiply_integers(sizes));
                      }),
                      {.storage = policy.arithmetic, .arithmetic = policy.arithmetic});
  const Forward forward = model_class.forward(config, w, shape);
  Cost cost = nn::measure_on_meta(forward.run);
  cost.rare_runs = forward.rare_runs;
  // A weight that is stored in another type is widened into a buffer of the largest one's size.
  if (policy.storage.value_or(at::kFloat) != policy.arithmetic)
    cost.peak_bytes += largest_weight * static_cast<int64_t>(c10::elementSize(policy.arithmetic));
  return cost;
}

}  // namespace diffract::models
