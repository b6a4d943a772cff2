#pragma once
#include <functional>

#include "diffract/schedulers/dpm_weights.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::schedulers {

/// DPM-Solver's multistep rule of order 1 to 3 over a walk's noise levels: it keeps the predictions of the
/// steps before.
class DpmMultistep {
 public:
  /// Reads algorithm_type (one of `algorithms`), solver_type, solver_order, lower_order_final and
  /// euler_at_final.
  DpmMultistep(const ConfigReader& config, std::vector<std::string> algorithms);

  struct Walk {
    size_t steps;
    std::function<NoiseLevel(size_t)> level;  // at an evaluation, and of what the last step leads to
  };
  /// The sample that the step from `index` leads to, given what was predicted at it: the picture or the
  /// noise, as the algorithm has it.
  Tensor step(const Tensor& prediction, size_t index, const Tensor& sample, const Walk& walk,
              const NoiseSource& noise);

  const DpmAlgorithm& algorithm() const { return algorithm_; }
  size_t order() const { return order_; }

 private:
  size_t order_at(size_t index, const Walk& walk) const;
  Tensor integral(const DpmWeights& w, size_t order, size_t index, const Walk& walk) const;

  DpmAlgorithm algorithm_;
  size_t order_;
  bool lower_order_final_, euler_at_final_;
  std::vector<Tensor> history_;  // predictions, the newest at the end
};

}  // namespace diffract::schedulers
