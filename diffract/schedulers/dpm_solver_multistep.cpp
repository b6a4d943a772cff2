#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// DPM-Solver and DPM-Solver++, of order 1 to 3, as an ODE or with fresh noise at each step.
/// Source: Lu et al. 2022a (dpmsolver) and 2022b (dpmsolver++); diffusers scheduling_dpmsolver_multistep.py.
class DpmSolverMultistep final : public SolverSchedule {
 public:
  DpmSolverMultistep(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request, {.clips_lambda = true, .has_lu_lambdas = true}),
        order_(static_cast<size_t>(config.integer("solver_order", 1, 3, 2))),
        lower_order_final_(config.boolean("lower_order_final", true)),
        euler_at_final_(config.boolean("euler_at_final", false)) {
    // Others than these two, as a DDPM scheduler's config has them, say nothing here.
    if (const auto variance = config.text("variance_type", ""); variance.starts_with("learned"))
      config.unsupported_unless("variance_type");
    std::string algorithm = config.choice(
        "algorithm_type", {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"},
        "dpmsolver++");
    if (algorithm == "deis") algorithm = "dpmsolver++";  // as diffusers takes a DEIS scheduler's config
    predicts_picture_ = algorithm.ends_with("++");
    sde_ = algorithm.starts_with("sde-");
    // The other schedulers' solver types stand for the midpoint rule, as diffusers has it.
    heun_ = config.choice("solver_type", {"midpoint", "heun", "logrho", "bh1", "bh2"}, "midpoint") == "heun";
    if (!predicts_picture_ && sigmas_.back() == 0)
      throw CheckpointError(
          "{}: \"algorithm_type\" {} cannot reach \"final_sigmas_type\" zero; set it to sigma_min",
          config.source(), algorithm);
    if (sde_ && !predicts_picture_ && order_ == 3)
      throw CheckpointError("{}: \"algorithm_type\" sde-dpmsolver has \"solver_order\" 1 and 2 only",
                            config.source());
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    if (history_.size() == order_) history_.erase(history_.begin());
    history_.push_back(converted(output, index, sample));
    const Weights w = weights(index);
    const Tensor next = w.sample * sample + integral(w, order_at(index), index);
    return sde_ ? next + w.noise * noise() : next;
  }

 private:
  /// A step is `sample` of the sample, `noise` of fresh noise, and `scale` times the integral of exp over [0,
  /// z] of the predictions' polynomial, whose terms have the weights phi0, phi1, phi2.
  struct Weights {
    double sample, noise, scale, z;
    double phi0() const { return std::expm1(z); }
    double phi1() const { return phi0() / z - 1; }
    double phi2() const { return (phi0() - z) / (z * z) - 0.5; }
  };

  // What the solver integrates: the picture, or the noise.
  Tensor converted(const Tensor& output, size_t index, const Tensor& sample) const {
    const NoiseLevel here = level(index);
    if (predicts_picture_) return range_.apply(predicted_picture(prediction_, output, sample, here));
    const Tensor noise = predicted_noise(prediction_, output, sample, here);
    if (!range_.quantile) return noise;
    const Tensor picture = range_.apply(predicted_picture(Prediction::epsilon, noise, sample, here));
    return predicted_noise(Prediction::sample, picture, sample, here);
  }

  // The last steps of short walks are of lower order, for stability.
  size_t order_at(size_t index) const {
    const bool few = lower_order_final_ && steps() < 15;
    if (index + 1 == steps() && (euler_at_final_ || few || leads_to_picture(index))) return 1;
    const size_t order = index + 2 == steps() && few ? std::min<size_t>(order_, 2) : order_;
    return std::min(order, history_.size());
  }

  Weights weights(size_t index) const {
    const NoiseLevel from = level(index), to = level(index + 1);
    const double h = to.lambda() - from.lambda();
    if (predicts_picture_) {
      const double kept = to.sigma / from.sigma;
      if (!sde_) return {.sample = kept, .noise = 0, .scale = -to.alpha, .z = -h};
      return {.sample = kept * std::exp(-h),
              .noise = to.sigma * std::sqrt(-std::expm1(-2 * h)),
              .scale = -to.alpha,
              .z = -2 * h};
    }
    const double kept = to.alpha / from.alpha;
    if (!sde_) return {.sample = kept, .noise = 0, .scale = -to.sigma, .z = h};
    return {.sample = kept, .noise = to.sigma * std::sqrt(std::expm1(2 * h)), .scale = -2 * to.sigma, .z = h};
  }

  Tensor integral(const Weights& w, size_t order, size_t index) const {
    const auto lambda = [&](size_t i) { return level(i).lambda(); };
    const auto prediction = [&](size_t back) -> const Tensor& {
      return history_[history_.size() - 1 - back];
    };
    const Tensor value = w.scale * w.phi0() * prediction(0);
    if (order == 1) return value;
    const double h = lambda(index + 1) - lambda(index);
    const double r0 = (lambda(index) - lambda(index - 1)) / h;
    const Tensor slope = (prediction(0) - prediction(1)) / r0;
    if (order == 2) return value + w.scale * (heun_ ? w.phi1() : 0.5 * w.phi0()) * slope;
    const double r1 = (lambda(index - 1) - lambda(index - 2)) / h;
    const Tensor bend = (slope - (prediction(1) - prediction(2)) / r1) / (r0 + r1);
    return value + w.scale * w.phi1() * (slope + r0 * bend) + w.scale * w.phi2() * bend;
  }

  size_t order_;
  bool lower_order_final_, euler_at_final_;
  bool predicts_picture_ = true, sde_ = false, heun_ = false;
  std::vector<Tensor> history_;  // converted predictions, the newest at the end
};

}  // namespace

std::unique_ptr<Schedule> make_dpm_solver_multistep(const ConfigReader& config,
                                                    const ScheduleRequest& request) {
  return std::make_unique<DpmSolverMultistep>(config, request);
}

}  // namespace diffract::schedulers
