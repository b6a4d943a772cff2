#pragma once
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {

/// What the schedulers of distilled models (LCM, TCD) share: they visit some of the few timesteps that the
/// model was distilled at, and look the noise up by timestep.
class DistilledSchedule : public Schedule {
 public:
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

 protected:
  /// Reads original_inference_steps beside the noise that the model was trained with.
  DistilledSchedule(const ConfigReader& config, const ScheduleRequest& request);

  bool is_last(size_t index) const { return index + 1 == timesteps_.size(); }

  TrainingSchedule training_;
  Prediction prediction_;
};

}  // namespace diffract::schedulers
