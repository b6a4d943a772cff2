#include "diffract/schedulers/dpm_multistep.h"
#include "diffract/schedulers/edm_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// DPM-Solver++ for EDM models, whose samples are not scaled by alpha. Source: Lu et al. 2022b; diffusers
/// scheduling_edm_dpmsolver_multistep.py.
class EdmDpmSolverMultistep final : public EdmSchedule {
 public:
  EdmDpmSolverMultistep(const ConfigReader& config, const ScheduleRequest& request)
      : EdmSchedule(config, request), rule_(config, {"dpmsolver++", "sde-dpmsolver++"}) {
    range_.read_threshold(config);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const auto level = [this](size_t i) { return NoiseLevel{.alpha = 1.0, .sigma = sigmas_[i]}; };
    return rule_.step(range_.apply(picture_in(output, index, sample)), index, sample,
                      {.steps = timesteps_.size(), .level = level}, noise);
  }

 private:
  DpmMultistep rule_;
  PictureRange range_;
};

}  // namespace

std::unique_ptr<Schedule> make_edm_dpm_solver_multistep(const ConfigReader& config,
                                                        const ScheduleRequest& request) {
  return std::make_unique<EdmDpmSolverMultistep>(config, request);
}

}  // namespace diffract::schedulers
