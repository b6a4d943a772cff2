#include "diffract/schedulers/distilled_schedule.h"

#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/spacing.h"

namespace diffract::schedulers {
namespace {

// Evenly spaced over the timesteps of the distillation, which are evenly spaced over the trained ones; from
// noise to picture.
std::vector<double> distilled_timesteps(int64_t train_timesteps, int64_t original_steps, int64_t steps) {
  if (steps > original_steps)
    throw UsageError("num_inference_steps {}: \"original_inference_steps\" is {}; expected at most that",
                     steps, original_steps);
  const int64_t stride = train_timesteps / original_steps;
  const double apart = static_cast<double>(original_steps) / static_cast<double>(steps);
  std::vector<double> timesteps;
  for (int64_t i = 0; i < steps; ++i) {
    const auto skipped = static_cast<int64_t>(std::floor(static_cast<double>(i) * apart));
    timesteps.push_back(static_cast<double>((original_steps - skipped) * stride - 1));
  }
  return timesteps;
}

}  // namespace

DistilledSchedule::DistilledSchedule(const ConfigReader& config, const ScheduleRequest& request)
    : training_(read_training_schedule(config, {.beta_start = 0.00085,
                                                .beta_end = 0.012,
                                                .beta_schedule = "scaled_linear",
                                                .has_rescale_zero_snr = true})),
      prediction_(read_prediction(config, {"epsilon", "sample", "v_prediction"})) {
  constexpr int64_t kOriginalSteps = 50;
  const int64_t original = config.integer("original_inference_steps", 1, training_.timesteps(),
                                          std::min(kOriginalSteps, training_.timesteps()));
  timesteps_ = request.timesteps.empty()
                   ? distilled_timesteps(training_.timesteps(), original, request.num_inference_steps)
                   : own_timesteps(request.timesteps, training_.timesteps(), OwnTimesteps::whole);
  if (prediction_ == Prediction::epsilon) require_signal(training_, timesteps_, config, kOfEpsilon);
}

}  // namespace diffract::schedulers
