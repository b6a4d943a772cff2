#include <algorithm>

#include "diffract/schedulers/dpm_weights.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// DPM-Solver and DPM-Solver++ in blocks: each step of a block begins at the block's first sample and uses
/// the predictions of the block, so that its order rises from 1. Source: Lu et al. 2022a, algorithms 1 and 2;
/// diffusers scheduling_dpmsolver_singlestep.py.
class DpmSolverSinglestep final : public SolverSchedule {
 public:
  DpmSolverSinglestep(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request,
                       {.clips_lambda = true,
                        .has_spacing = false,
                        .rounds_even_with_cosine = true,
                        .has_rescale_zero_snr = false,
                        .has_variance_type = true}),
        algorithm_(DpmAlgorithm::from_json(config, {"dpmsolver", "dpmsolver++", "sde-dpmsolver++"})),
        order_(static_cast<size_t>(config.integer("solver_order", 1, 3, 2))) {
    require_reachable(config, algorithm_.predicts_picture);
    plan_orders(config.boolean("lower_order_final", false));
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    if (history_.size() == order_) history_.erase(history_.begin());
    history_.push_back(algorithm_.predicts_picture ? picture_in(output, index, sample)
                                                   : noise_in(output, index, sample));
    const size_t order = std::min(orders_[index], history_.size());
    if (order == 1) start_ = sample;
    const size_t first = index + 1 - order;
    const DpmWeights w = dpm_weights(algorithm_, level(first), level(index + 1));
    const Tensor next = w.sample * start_ + integral(w, first, index);
    return algorithm_.sde ? next + w.noise * noise() : next;
  }

 private:
  // Blocks, the last of which may be cut short. A step to the picture itself has no finite length in lambda,
  // so it is of first order; with lower_order_final the last one of a whole block is, too.
  void plan_orders(bool lower_order_final) {
    for (size_t i = 0; i < steps(); ++i) orders_.push_back(i % order_ + 1);
    const bool is_whole = steps() % order_ == 0;
    if (leads_to_picture(steps() - 1) || (lower_order_final && is_whole)) orders_.back() = 1;
  }

  // The integral over the block so far, of the polynomial through its predictions.
  Tensor integral(const DpmWeights& w, size_t first, size_t index) const {
    const size_t order = index - first + 1;
    const auto prediction = [&](size_t back) -> const Tensor& {
      return history_[history_.size() - 1 - back];
    };
    const Tensor& begin = prediction(order - 1);
    const Tensor value = w.scale * w.phi0() * begin;
    if (order == 1) return value;
    const double start = level(first).lambda(), h = level(index + 1).lambda() - start;
    const auto share = [&](size_t i) { return (level(i).lambda() - start) / h; };
    const double r0 = share(index);
    const Tensor chord = (prediction(0) - begin) / r0;
    if (order == 2) return value + w.scale * (algorithm_.heun ? w.phi1() : 0.5 * w.phi0()) * chord;
    if (!algorithm_.heun) return value + w.scale * w.phi1() * chord;
    const double r1 = share(first + 1);
    const Tensor near = (prediction(1) - begin) / r1;
    const Tensor slope = (r0 * near - r1 * chord) / (r0 - r1);
    const Tensor bend = 2.0 * (chord - near) / (r0 - r1);
    return value + w.scale * w.phi1() * slope + w.scale * w.phi2() * bend;
  }

  DpmAlgorithm algorithm_;
  size_t order_;
  std::vector<size_t> orders_;   // of each step
  std::vector<Tensor> history_;  // converted predictions, the newest at the end
  Tensor start_;                 // the sample that the block began with
};

}  // namespace

std::unique_ptr<Schedule> make_dpm_solver_singlestep(const ConfigReader& config,
                                                     const ScheduleRequest& request) {
  return std::make_unique<DpmSolverSinglestep>(config, request);
}

}  // namespace diffract::schedulers
