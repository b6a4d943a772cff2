#include "diffract/core/error.h"
#include "diffract/schedulers/dpm_multistep.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// DPM-Solver and DPM-Solver++, of order 1 to 3, as an ODE or with fresh noise at each step.
/// Source: Lu et al. 2022a (dpmsolver) and 2022b (dpmsolver++); diffusers scheduling_dpmsolver_multistep.py.
class DpmSolverMultistep final : public SolverSchedule {
 public:
  DpmSolverMultistep(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request,
                       {.clips_lambda = true, .has_lu_lambdas = true, .has_variance_type = true}),
        rule_(config, {"dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"}) {
    const DpmAlgorithm& algorithm = rule_.algorithm();
    require_reachable(config, algorithm.predicts_picture);
    if (algorithm.sde && !algorithm.predicts_picture && rule_.order() == 3)
      throw CheckpointError("{}: \"algorithm_type\" sde-dpmsolver has \"solver_order\" 1 and 2 only",
                            config.source());
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const Tensor prediction = rule_.algorithm().predicts_picture ? picture_in(output, index, sample)
                                                                 : noise_in(output, index, sample);
    return rule_.step(prediction, index, sample,
                      {.steps = steps(), .level = [this](size_t i) { return level(i); }}, noise);
  }

 private:
  DpmMultistep rule_;
};

}  // namespace

std::unique_ptr<Schedule> make_dpm_solver_multistep(const ConfigReader& config,
                                                    const ScheduleRequest& request) {
  return std::make_unique<DpmSolverMultistep>(config, request);
}

}  // namespace diffract::schedulers
