#include <algorithm>
#include <cmath>

#include "diffract/schedulers/distilled_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// Trajectory consistency distillation: each step goes to a timestep beyond the next, as far as eta says, and
/// fresh noise brings it back to that. Source: Zheng et al. 2024, algorithm 4, whose gamma eta is; diffusers
/// scheduling_tcd.py.
class Tcd final : public DistilledSchedule {
 public:
  Tcd(const ConfigReader& config, const ScheduleRequest& request)
      : DistilledSchedule(config, request), eta_(request.eta) {}

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const NoiseLevel here = training_.level(timesteps_[index]);
    const double next = is_last(index) ? 0.0 : timesteps_[index + 1];
    // In float32, as diffusers: halves are cut to whole timesteps.
    const NoiseLevel beyond =
        training_.level(std::floor(static_cast<float>(1 - eta_) * static_cast<float>(next)));
    const Tensor reached = beyond.mix(predicted_picture(prediction_, output, sample, here),
                                      predicted_noise(prediction_, output, sample, here));
    if (eta_ == 0 || is_last(index)) return reached;
    const double kept = training_.level(next).alpha / beyond.alpha;
    return kept * reached + std::sqrt(std::max(1 - kept * kept, 0.0)) * noise();
  }

 private:
  double eta_;
};

}  // namespace

std::unique_ptr<Schedule> make_tcd(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Tcd>(config, request);
}

}  // namespace diffract::schedulers
