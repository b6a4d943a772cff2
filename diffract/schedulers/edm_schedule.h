#pragma once
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::schedulers {

/// What the schedulers of EDM models share: samples x = picture + sigma * noise, scaled by the deviation of
/// the data, and a model that is told log(sigma) / 4. Source: Karras et al. 2022, table 1 and section 5.
class EdmSchedule : public Schedule {
 public:
  double init_noise_sigma() const override { return init_noise_sigma_; }
  Tensor scale_model_input(const Tensor& sample, size_t index) const override;
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return sample + noise * sigmas_[index];
  }

 protected:
  /// Reads sigma_min, sigma_max, sigma_data, sigma_schedule, rho, prediction_type and final_sigmas_type.
  EdmSchedule(const ConfigReader& config, const ScheduleRequest& request);

  /// The picture that a model's output means at an evaluation.
  Tensor picture_in(const Tensor& output, size_t index, const Tensor& sample) const;

  std::vector<double> sigmas_;  // one an evaluation, and the one that the last step leads to

 private:
  Prediction prediction_;
  double sigma_data_, init_noise_sigma_;
};

}  // namespace diffract::schedulers
