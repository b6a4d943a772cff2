#include <cmath>

#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/sigma_schedule.h"

namespace diffract::schedulers {
namespace {

/// Euler's method with fresh noise at each step. Source: k-diffusion's ancestral sampling; diffusers
/// scheduling_euler_ancestral_discrete.py.
class EulerAncestralDiscrete final : public SigmaSchedule {
 public:
  EulerAncestralDiscrete(const ConfigReader& config, const ScheduleRequest& request)
      : SigmaSchedule(config, request,
                      {.training = {.has_rescale_zero_snr = true, .keep_last_above_zero = true},
                       .predictions = {"epsilon", "v_prediction"},
                       .sigma_spacing = false}) {}

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const double from = sigmas_[index], to = sigmas_[index + 1];
    const double up = std::sqrt(to * to * (from * from - to * to) / (from * from));  // made of fresh noise
    const double down = std::sqrt(to * to - up * up);                                // reached by the step
    return sample + derivative(output, sample, from) * (down - from) + noise() * up;
  }
};

}  // namespace

std::unique_ptr<Schedule> make_euler_ancestral_discrete(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<EulerAncestralDiscrete>(config, request);
}

}  // namespace diffract::schedulers
