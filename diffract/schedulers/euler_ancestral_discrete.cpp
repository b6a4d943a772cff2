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
    // In float32, as diffusers: at sigma 4096 (zero terminal SNR) the last bit shows.
    const auto from = static_cast<float>(sigmas_[index]), to = static_cast<float>(sigmas_[index + 1]);
    const float up = std::sqrt(to * to * (from * from - to * to) / (from * from));  // made of fresh noise
    const float down = std::sqrt(to * to - up * up);                                // reached by the step
    return sample + derivative(output, sample, from) * (down - from) + noise() * up;
  }
};

}  // namespace

std::unique_ptr<Schedule> make_euler_ancestral_discrete(const ConfigReader& config,
                                                        const ScheduleRequest& request) {
  return std::make_unique<EulerAncestralDiscrete>(config, request);
}

}  // namespace diffract::schedulers
