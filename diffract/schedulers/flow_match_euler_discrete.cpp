#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/sigmas.h"

namespace diffract::schedulers {
namespace {

struct FlowConfig {  // the keys of scheduler_config.json
  int64_t num_train_timesteps;
  double shift;
  bool use_dynamic_shifting, exponential_shift, invert_sigmas, stochastic_sampling;
  double shift_terminal;  // 0: none
  SigmaSpacing spacing;

  explicit FlowConfig(const ConfigReader& config)
      : num_train_timesteps(config.integer("num_train_timesteps", 1, 1'000'000, 1000)),
        shift(config.number("shift", 1e-6, 1e6, 1.0)),
        use_dynamic_shifting(config.boolean("use_dynamic_shifting", false)),
        exponential_shift(config.choice("time_shift_type", {"exponential", "linear"}, "exponential") ==
                          "exponential"),
        invert_sigmas(config.boolean("invert_sigmas", false)),
        stochastic_sampling(config.boolean("stochastic_sampling", false)),
        shift_terminal(config.number("shift_terminal", 0, 0.999, 0.0)),
        spacing(read_sigma_spacing(config)) {}
};

// shift * sigma / (1 + (shift - 1) * sigma). Source: Esser et al. 2024, equation 23.
template <typename Real>
Real shift_by_factor(Real sigma, double shift) {
  const auto factor = static_cast<Real>(shift);
  return factor * sigma / (1 + static_cast<Real>(shift - 1) * sigma);
}

// numpy keeps the precision of its array: float32 for sigmas that were given, float64 for its own. So do we.
template <typename Real>
class SigmaTable {
 public:
  SigmaTable(std::vector<Real> sigmas, const FlowConfig& config)
      : sigmas_(std::move(sigmas)), config_(config) {}

  std::vector<float> shifted(std::optional<double> mu) {
    for (Real& sigma : sigmas_)
      sigma = config_.use_dynamic_shifting ? shift_by_mu(sigma, mu.value())
                                           : shift_by_factor(sigma, config_.shift);
    if (config_.shift_terminal > 0) stretch();
    if (config_.spacing != SigmaSpacing::timesteps) {
      const auto spaced =
          space_sigmas(config_.spacing, static_cast<double>(sigmas_.front()),
                       static_cast<double>(sigmas_.back()), static_cast<int64_t>(sigmas_.size()));
      return {spaced.begin(), spaced.end()};
    }
    return {sigmas_.begin(), sigmas_.end()};
  }

 private:
  Real shift_by_mu(Real sigma, double mu) const {
    const auto moved = static_cast<Real>(config_.exponential_shift ? std::exp(mu) : mu);
    return moved / (moved + (1 / sigma - 1));
  }

  // So that the last sigma is shift_terminal.
  void stretch() {
    const Real factor = (1 - sigmas_.back()) / static_cast<Real>(1 - config_.shift_terminal);
    for (Real& sigma : sigmas_) sigma = 1 - (1 - sigma) / factor;
  }

  std::vector<Real> sigmas_;
  const FlowConfig& config_;
};

/// Euler's method along the straight path from noise (sigma 1) to image (sigma 0). Source: Esser et al. 2024;
/// diffusers scheduling_flow_match_euler_discrete.py.
class FlowMatchEulerDiscrete final : public Schedule {
 public:
  FlowMatchEulerDiscrete(const ConfigReader& reader, const ScheduleRequest& request)
      : stochastic_sampling_(FlowConfig(reader).stochastic_sampling) {
    const FlowConfig config(reader);
    if (config.use_dynamic_shifting && !request.mu)
      throw UsageError(
          "{}: has \"use_dynamic_shifting\", which needs the shift mu of the picture's size; this "
          "pipeline has none",
          reader.source());
    sigmas_ =
        request.sigmas.empty()
            ? SigmaTable<double>(own_sigmas(config, request.num_inference_steps), config).shifted(request.mu)
            : SigmaTable<float>(request.sigmas, config).shifted(request.mu);
    if (config.invert_sigmas)
      for (float& sigma : sigmas_) sigma = 1.0f - sigma;
    for (const float sigma : sigmas_)
      timesteps_.push_back(sigma * static_cast<float>(config.num_train_timesteps));
    sigmas_.push_back(config.invert_sigmas ? 1.0f : 0.0f);
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return NoiseLevel{.alpha = 1.0 - sigmas_[index], .sigma = sigmas_[index]}.mix(sample, noise);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const float sigma = sigmas_[index], next = sigmas_[index + 1];
    if (!stochastic_sampling_) return sample + output * (next - sigma);
    const Tensor image = sample - output * sigma;
    return image * (1.0f - next) + noise() * next;
  }

 private:
  static std::vector<double> own_sigmas(const FlowConfig& config, int64_t steps) {
    const auto train = static_cast<float>(config.num_train_timesteps);
    const auto bound = [&](float sigma) {
      return static_cast<double>(config.use_dynamic_shifting ? sigma : shift_by_factor(sigma, config.shift));
    };
    const double largest = bound(1.0f) * train, smallest = bound(1.0f / train) * train;
    std::vector<double> sigmas(static_cast<size_t>(steps));
    const double step = steps > 1 ? (smallest - largest) / static_cast<double>(steps - 1) : 0;
    for (int64_t i = 0; i < steps; ++i) {
      const double timestep = i > 0 && i + 1 == steps ? smallest : largest + static_cast<double>(i) * step;
      sigmas[static_cast<size_t>(i)] = timestep / train;
    }
    return sigmas;
  }

  bool stochastic_sampling_;
  std::vector<float> sigmas_;  // one more than timesteps
};

}  // namespace

std::unique_ptr<Schedule> make_flow_match_euler_discrete(const ConfigReader& config,
                                                         const ScheduleRequest& request) {
  return std::make_unique<FlowMatchEulerDiscrete>(config, request);
}

}  // namespace diffract::schedulers
