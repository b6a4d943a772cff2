#include <cmath>

#include "diffract/schedulers/distilled_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// Latent consistency models: each step goes to the picture, and fresh noise brings it to the next level.
/// Source: Luo et al. 2023, algorithm 3; diffusers scheduling_lcm.py.
class Lcm final : public DistilledSchedule {
 public:
  Lcm(const ConfigReader& config, const ScheduleRequest& request)
      : DistilledSchedule(config, request),
        timestep_scaling_(config.number("timestep_scaling", 0, 1e6, 10.0)) {
    range_.read_threshold(config);
    if (!range_.quantile) range_.read_clip(config, false);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const Tensor picture =
        range_.apply(predicted_picture(prediction_, output, sample, training_.level(timesteps_[index])));
    // The consistency function: at timestep 0 the sample itself. Source: Song et al. 2023, equation 5.
    constexpr double kSigmaData = 0.5;
    const double scaled = timesteps_[index] * timestep_scaling_;
    const double both = scaled * scaled + kSigmaData * kSigmaData;
    const Tensor denoised = (scaled / std::sqrt(both)) * picture + (kSigmaData * kSigmaData / both) * sample;
    return is_last(index) ? denoised : training_.level(timesteps_[index + 1]).mix(denoised, noise());
  }

 private:
  double timestep_scaling_;
  PictureRange range_;
};

}  // namespace

std::unique_ptr<Schedule> make_lcm(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Lcm>(config, request);
}

}  // namespace diffract::schedulers
