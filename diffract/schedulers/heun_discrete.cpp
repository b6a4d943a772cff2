#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/sigma_schedule.h"

namespace diffract::schedulers {
namespace {

/// Heun's method along sigma: an Euler step, and the same step again with the mean of the derivatives at its
/// two ends. Source: Karras et al. 2022, algorithm 1; diffusers scheduling_heun_discrete.py.
class HeunDiscrete final : public SigmaSchedule {
 public:
  HeunDiscrete(const ConfigReader& config, const ScheduleRequest& request)
      : SigmaSchedule(config, request,
                      {.training = {.beta_start = 0.00085, .beta_end = 0.012, .has_exp = true}}) {
    range_.read_clip(config, false);
    // Every timestep but the first is evaluated twice: as the end of one step and as the beginning of the
    // next.
    std::vector<double> timesteps{timesteps_[0]}, sigmas{sigmas_[0]};
    for (size_t i = 1; i < timesteps_.size(); ++i) {
      timesteps.insert(timesteps.end(), 2, timesteps_[i]);
      sigmas.insert(sigmas.end(), 2, sigmas_[i]);
    }
    sigmas.push_back(sigmas_.back());
    timesteps_ = std::move(timesteps);
    sigmas_ = std::move(sigmas);
  }

  size_t order() const override { return 2; }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    const Tensor slope = derivative(output, sample, sigmas_[index]);
    const bool first_half = index % 2 == 0;
    if (!first_half) return start_ + (start_slope_ + slope) / 2 * (sigmas_[index] - sigmas_[index - 1]);
    start_ = sample;
    start_slope_ = slope;
    return sample + slope * (sigmas_[index + 1] - sigmas_[index]);
  }

 private:
  Tensor start_, start_slope_;  // where the current step began
};

}  // namespace

std::unique_ptr<Schedule> make_heun_discrete(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<HeunDiscrete>(config, request);
}

}  // namespace diffract::schedulers
