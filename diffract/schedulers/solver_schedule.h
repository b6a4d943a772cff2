#pragma once
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/sigmas.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {

/// What DPM-Solver, UniPC, DEIS and SA-Solver share: samples x = alpha * picture + sigma * noise, walked
/// along a table of noise levels whose ratio sigma / alpha falls. They are variance-preserving, or on a
/// straight path with use_flow_sigmas.
class SolverSchedule : public Schedule {
 public:
  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return level(index).mix(sample, noise);
  }

 protected:
  struct Options {
    bool clips_lambda = false;    // reads lambda_min_clipped
    bool has_lu_lambdas = false;  // reads use_lu_lambdas
    bool has_spacing = true;      // reads timestep_spacing and steps_offset; else linspace
    // Which spacings give whole timesteps by rounding; the rest are cut to whole ones.
    bool rounds_even_with_cosine = false;
    // final_sigmas_type "sigma_min" means the smallest of the spaced sigmas, not of the trained ones.
    bool final_is_last_spaced = false;
    bool ends_at_picture = true;       // reads final_sigmas_type; else as its "sigma_min"
    bool has_rescale_zero_snr = true;  // reads rescale_betas_zero_snr
    bool has_variance_type = false;    // reads variance_type
    bool has_own_flow = false;         // spaces its own levels with use_flow_sigmas: calls walk_flow()
  };
  SolverSchedule(const ConfigReader& config, const ScheduleRequest& request, const Options& options);

  /// The picture that a model's output means at an evaluation, kept in range.
  Tensor picture_in(const Tensor& output, size_t index, const Tensor& sample) const;
  /// The noise that it means: that of the picture, where pictures are kept in range.
  Tensor noise_in(const Tensor& output, size_t index, const Tensor& sample) const;

  /// Takes levels of a straight path, 1 to 0, as the walk's; `last` is what the last step leads to.
  void walk_flow(const std::vector<double>& sigmas, double last);
  /// Throws CheckpointError for a solver of the noise, unless `predicts_picture`, that is to reach the
  /// picture itself.
  void require_reachable(const ConfigReader& config, bool predicts_picture) const;

  NoiseLevel level(size_t index) const {
    const double sigma = sigmas_[index];
    return is_flow_ ? NoiseLevel{.alpha = 1 - sigma, .sigma = sigma} : NoiseLevel::of_ratio(sigma);
  }
  size_t steps() const { return timesteps_.size(); }
  /// True when the step from `index` leads to the picture itself.
  bool leads_to_picture(size_t index) const { return sigmas_[index + 1] == 0; }
  bool is_flow() const { return is_flow_; }

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;
  // sigma / alpha, or sigma on a straight path: one an evaluation, and the one that the last step leads to
  std::vector<double> sigmas_;

 private:
  void walk_timesteps(const ConfigReader& config, const ScheduleRequest& request, const Options& options);
  void walk_spaced(const ConfigReader& config, int64_t steps, SigmaSpacing spacing, const Options& options);
  Tensor mean_of(const Tensor& output, const Tensor& sample) const;
  void round_sigmas();

  bool is_flow_;
  bool has_variance_ = false;  // the model's output has a second half, the variance
};

}  // namespace diffract::schedulers
