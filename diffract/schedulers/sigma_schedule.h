#pragma once
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/sigmas.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {

/// What Euler's, Heun's and the linear multistep method share: samples x = picture + sigma * noise that are
/// scaled to unit variance for the model, walked along a table of falling sigmas.
class SigmaSchedule : public Schedule {
 public:
  double init_noise_sigma() const override { return init_noise_sigma_; }
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override;
  Tensor scale_model_input(const Tensor& sample, size_t index) const override;

 protected:
  struct Options {
    TrainingDefaults training;
    std::vector<std::string> predictions = {"epsilon", "v_prediction", "sample"};
    bool sigma_spacing = true;        // reads use_karras_sigmas and its like
    bool spaces_whole_table = false;  // between the trained ends, not between those of the timesteps
    bool karras_bounds = true;  // sigma_min and sigma_max bound Karras's spacing too, not only the others
  };
  SigmaSchedule(const ConfigReader& config, const ScheduleRequest& request, const Options& options);

  /// d(sample)/d(sigma) at a noise level.
  Tensor derivative(const Tensor& output, const Tensor& sample, double sigma) const;
  void round_sigmas();
  void set_init_noise_sigma(const ConfigReader& config);

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;          // of the predicted picture
  std::vector<double> sigmas_;  // one an evaluation, and the one that the last step leads to
  double init_noise_sigma_ = 1.0;
};

}  // namespace diffract::schedulers
