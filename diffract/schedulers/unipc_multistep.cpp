#include <algorithm>
#include <cmath>

#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// UniPC: a predictor of any order, and a corrector that takes the last step again once the model has been
/// asked where it led. Source: Zhao et al. 2023, algorithms 5 to 8; diffusers scheduling_unipc_multistep.py.
class UniPcMultistep final : public SolverSchedule {
 public:
  UniPcMultistep(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request, {.rounds_even_with_cosine = true, .final_is_last_spaced = true}),
        order_(static_cast<size_t>(config.integer("solver_order", 1, 4, 2))),
        predicts_picture_(config.boolean("predict_x0", true)),
        lower_order_final_(config.boolean("lower_order_final", true)) {
    config.unsupported_unless("solver_p");
    config.unsupported_unless("shift_terminal");
    // The other schedulers' solver types stand for bh2, as diffusers has it.
    bh1_ = config.choice("solver_type", {"bh1", "bh2", "midpoint", "heun", "logrho"}, "bh2") == "bh1";
    if (config.has("disable_corrector"))
      for (const int64_t index : config.integers("disable_corrector", 0, 1'000'000))
        uncorrected_.push_back(static_cast<size_t>(index));
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& predicted, const NoiseSource&) override {
    const Tensor prediction = converted(output, index, predicted);
    const bool correct = index > begin() &&
                         std::find(uncorrected_.begin(), uncorrected_.end(), index - 1) == uncorrected_.end();
    const Tensor sample = correct ? advance(index - 1, step_order_, start_, prediction) : predicted;
    if (history_.size() == order_) history_.erase(history_.begin());
    history_.push_back(prediction);
    // A step to the picture itself has no finite length in lambda, so only the first order is defined there.
    const size_t order = leads_to_picture(index) ? 1
                         : lower_order_final_    ? std::min(order_, steps() - index)
                                                 : order_;
    step_order_ = std::min(order, history_.size());
    start_ = sample;
    return advance(index, step_order_, sample, {});
  }

 private:
  Tensor converted(const Tensor& output, size_t index, const Tensor& sample) const {
    const NoiseLevel here = level(index);
    return predicts_picture_ ? range_.apply(predicted_picture(prediction_, output, sample, here))
                             : predicted_noise(prediction_, output, sample, here);
  }

  /// The sample that the step from `index` leads to. With `at_end`, the prediction at that end, it is the
  /// corrector; history_ ends with the prediction at the step's begin.
  Tensor advance(size_t index, size_t order, const Tensor& sample, const Tensor& at_end) const {
    const NoiseLevel from = level(index), to = level(index + 1);
    const double h = to.lambda() - from.lambda();
    const double z = predicts_picture_ ? -h : h;
    const double kept = predicts_picture_ ? to.sigma / from.sigma : to.alpha / from.alpha;
    const double scale = predicts_picture_ ? to.alpha : to.sigma;
    const Tensor& begin = history_.back();
    // Where the picture itself is reached, z is infinite and scale 0; their product has a limit.
    const double moved =
        !predicts_picture_ && to.sigma == 0 ? to.alpha * from.sigma / from.alpha : scale * std::expm1(z);
    const Tensor straight = kept * sample - moved * begin;

    // Differences to the predictions before, each over its distance in units of the step.
    std::vector<double> distances;
    std::vector<Tensor> differences;
    for (size_t back = 1; back < order; ++back) {
      distances.push_back((level(index - back).lambda() - from.lambda()) / h);
      differences.push_back((history_[history_.size() - 1 - back] - begin) / distances.back());
    }
    if (at_end.defined()) {
      distances.push_back(1.0);
      differences.push_back(at_end - begin);
    }
    if (differences.empty()) return straight;
    const auto weights = solve(distances, z);
    Tensor bend = weights[0] * differences[0];
    for (size_t i = 1; i < differences.size(); ++i) bend = bend + weights[i] * differences[i];
    return straight - scale * b(z) * bend;
  }

  double b(double z) const { return bh1_ ? z : std::expm1(z); }

  // The weights that make the rule exact for polynomials: sum over k of rho_k r_k^(i-1) = i! phi_(i+1)(z) /
  // B(z). With a single one the paper takes 1/2.
  std::vector<double> solve(const std::vector<double>& distances, double z) const {
    const auto n = static_cast<int64_t>(distances.size());
    if (n == 1) return {0.5};
    const Tensor matrix = at::empty({n, n}, at::kDouble), right = at::empty({n}, at::kDouble);
    auto* rows = matrix.data_ptr<double>();
    auto* values = right.data_ptr<double>();
    double phi = std::expm1(z) / z - 1, factorial = 1;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < n; ++k)
        rows[i * n + k] = std::pow(distances[static_cast<size_t>(k)], static_cast<double>(i));
      values[i] = phi * factorial / b(z);
      factorial *= static_cast<double>(i + 2);
      phi = phi / z - 1 / factorial;
    }
    const Tensor solution = at::linalg_solve(matrix, right).contiguous();
    const auto* begin = solution.const_data_ptr<double>();
    return {begin, begin + n};
  }

  size_t order_;
  bool predicts_picture_, lower_order_final_, bh1_ = false;
  std::vector<size_t> uncorrected_;  // steps that the corrector leaves as they are
  std::vector<Tensor> history_;      // converted predictions, the newest at the end
  Tensor start_;                     // the sample that the last step began with
  size_t step_order_ = 1;            // of that step
};

}  // namespace

std::unique_ptr<Schedule> make_unipc_multistep(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<UniPcMultistep>(config, request);
}

}  // namespace diffract::schedulers
