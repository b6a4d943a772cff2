#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/sigma_schedule.h"

namespace diffract::schedulers {
namespace {

bool log_linear(const ConfigReader& config) {
  return config.choice("interpolation_type", {"linear", "log_linear"}, "linear") == "log_linear";
}

void check_own_sigmas(const std::vector<float>& sigmas) {
  if (sigmas.size() < 2)
    throw UsageError("sigmas: has one number; expected those of the steps and a last one, as 0");
  for (size_t i = 0; i < sigmas.size(); ++i) {
    const bool is_last = i + 1 == sigmas.size();
    if (!std::isfinite(sigmas[i]) || !(is_last ? sigmas[i] >= 0 : sigmas[i] > 0) ||
        (i > 0 && sigmas[i] >= sigmas[i - 1]))
      throw UsageError(
          "sigmas: the one at {} is {}; expected falling numbers above 0, the last of which may be 0", i,
          sigmas[i]);
  }
}

// A request's own noise levels are one more than its steps.
ScheduleRequest with_steps(ScheduleRequest request) {
  if (request.sigmas.empty()) return request;
  check_own_sigmas(request.sigmas);
  request.num_inference_steps = static_cast<int64_t>(request.sigmas.size()) - 1;
  return request;
}

/// Euler's method along sigma. Source: Karras et al. 2022, algorithm 2 without churn; diffusers
/// scheduling_euler_discrete.py.
class EulerDiscrete final : public SigmaSchedule {
 public:
  EulerDiscrete(const ConfigReader& config, const ScheduleRequest& request)
      : SigmaSchedule(config, with_steps(request),
                      {.training = {.has_rescale_zero_snr = true, .keep_last_above_zero = true},
                       .predictions = {"epsilon", "v_prediction", "sample", "original_sample"},
                       .spaces_whole_table = log_linear(config)}) {
    if (log_linear(config) && read_sigma_spacing(config) == SigmaSpacing::timesteps) {
      space_evenly_in_logarithm();
      require_finite_sigmas(training_, sigmas_, config);
    }
    if (config.choice("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "sigma_min")
      sigmas_.back() = training_.sigmas().front();
    if (!request.sigmas.empty()) walk_own(request.sigmas);
    round_sigmas();
    set_init_noise_sigma(config);
    const bool continuous =
        config.choice("timestep_type", {"discrete", "continuous"}, "discrete") == "continuous" &&
        prediction_ == Prediction::v_prediction;
    if (continuous && !request.timesteps.empty())
      throw UsageError(
          "timesteps: {} has \"timestep_type\" continuous, which makes its own; leave timesteps out",
          config.source());
    if (continuous)
      for (size_t i = 0; i < timesteps_.size(); ++i)
        timesteps_[i] = 0.25f * std::log(static_cast<float>(sigmas_[i]));
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    return sample + derivative(output, sample, sigmas_[index]) * (sigmas_[index + 1] - sigmas_[index]);
  }

 private:
  void walk_own(const std::vector<float>& sigmas) {
    sigmas_.assign(sigmas.begin(), sigmas.end());
    const auto table = training_.sigmas();
    for (size_t i = 0; i < timesteps_.size(); ++i)
      timesteps_[i] = static_cast<float>(sigma_to_timestep(sigmas_[i], table));
  }

  // diffusers spaces one level more than there are steps here, so the last of them is not reached.
  void space_evenly_in_logarithm() {
    const auto table = training_.sigmas();
    const auto steps = static_cast<int64_t>(timesteps_.size());
    sigmas_ = space_sigmas(SigmaSpacing::exponential, table.back(), table.front(), steps + 1);
    sigmas_.push_back(0.0);
  }
};

}  // namespace

std::unique_ptr<Schedule> make_euler_discrete(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<EulerDiscrete>(config, request);
}

}  // namespace diffract::schedulers
