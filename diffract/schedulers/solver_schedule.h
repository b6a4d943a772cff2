#pragma once
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/sigmas.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {

/// What DPM-Solver, UniPC and DEIS share: variance-preserving samples x = alpha * picture + sigma * noise,
/// walked along a table of noise levels whose ratio sigma / alpha falls.
class SolverSchedule : public Schedule {
 public:
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return level(index).mix(sample, noise);
  }

 protected:
  struct Options {
    bool clips_lambda = false;    // reads lambda_min_clipped
    bool has_lu_lambdas = false;  // reads use_lu_lambdas
    // Which spacings give whole timesteps by rounding; the rest are cut to whole ones.
    bool rounds_even_with_cosine = false;
    // final_sigmas_type "sigma_min" means the smallest of the spaced sigmas, not of the trained ones.
    bool final_is_last_spaced = false;
    bool ends_at_picture = true;       // reads final_sigmas_type; else as its "sigma_min"
    bool has_rescale_zero_snr = true;  // reads rescale_betas_zero_snr
  };
  SolverSchedule(const ConfigReader& config, const ScheduleRequest& request, const Options& options);

  NoiseLevel level(size_t index) const { return NoiseLevel::of_ratio(sigmas_[index]); }
  size_t steps() const { return timesteps_.size(); }
  /// True when the step from `index` leads to the picture itself.
  bool leads_to_picture(size_t index) const { return sigmas_[index + 1] == 0; }

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;
  std::vector<double> sigmas_;  // sigma / alpha, one an evaluation, and the one that the last step leads to
};

}  // namespace diffract::schedulers
