#pragma once
#include "diffract/schedulers/sigma_schedule.h"

namespace diffract::schedulers {

/// What the two KDPM2 schedulers share: a step is a half step to a noise level between its ends, and then the
/// whole step with the derivative that was found there. The last step, to the picture, has one evaluation.
class Kdpm2Schedule : public SigmaSchedule {
 public:
  size_t order() const override { return 2; }
  Tensor scale_model_input(const Tensor& sample, size_t index) const override {
    return scaled_input(sample, input_sigma(index));
  }
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return sample + noise * sigmas_[(index + 1) / 2];
  }
  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override;

 protected:
  Kdpm2Schedule(const ConfigReader& config, const ScheduleRequest& request);

  /// How far each step goes without fresh noise, and how much of that it adds; float32, one number a step.
  struct Reach {
    Tensor down, up;
  };
  void plan(const Reach& reach);

 private:
  double input_sigma(size_t index) const { return index % 2 == 0 ? sigmas_[index / 2] : middles_[index / 2]; }

  std::vector<double> down_, up_;  // of each step; sigmas_ has one a step too, and the last 0
  std::vector<double> middles_;    // of each step; 0 of the last
  Tensor start_;                   // the sample that the current step began with
};

}  // namespace diffract::schedulers
