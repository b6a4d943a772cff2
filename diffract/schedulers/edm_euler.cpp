#include "diffract/schedulers/edm_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// Euler's method for EDM models. Source: Karras et al. 2022, algorithm 2 without churn; diffusers
/// scheduling_edm_euler.py.
class EdmEuler final : public EdmSchedule {
 public:
  EdmEuler(const ConfigReader& config, const ScheduleRequest& request) : EdmSchedule(config, request) {}

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    const Tensor slope = (sample - picture_in(output, index, sample)) / sigmas_[index];
    return sample + slope * (sigmas_[index + 1] - sigmas_[index]);
  }
};

}  // namespace

std::unique_ptr<Schedule> make_edm_euler(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<EdmEuler>(config, request);
}

}  // namespace diffract::schedulers
