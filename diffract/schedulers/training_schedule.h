#pragma once
#include <cstdint>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/schedulers/prediction.h"

namespace diffract::schedulers {

/// What differs between the scheduler classes' defaults and options for the noise they were trained with.
struct TrainingDefaults {
  double beta_start = 0.0001, beta_end = 0.02;
  bool has_exp = false;               // knows beta_schedule "exp"
  bool has_sigmoid = false;           // knows beta_schedule "sigmoid"
  bool has_rescale_zero_snr = false;  // knows rescale_betas_zero_snr
  bool keep_last_above_zero = false;  // with it, the last alpha becomes 2^-24, so that its sigma is finite
};

/// How much of the picture is left at each training timestep.
struct TrainingSchedule {
  // In (0, 1], falling; 0 at the end with rescale_betas_zero_snr, or where the last of trained_betas is 1.
  std::vector<double> alphas_cumprod;
  const char* end_key = "beta_end";  // the config's, which says what is left at the end

  int64_t timesteps() const { return static_cast<int64_t>(alphas_cumprod.size()); }
  /// At one of the training timesteps.
  NoiseLevel level(double timestep) const {
    return NoiseLevel::of_alpha_cumprod(alphas_cumprod[static_cast<size_t>(timestep)]);
  }
  /// Noise to signal, sqrt((1 - a) / a), at each training timestep; rising.
  std::vector<double> sigmas() const;
};

/// Reads num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas and rescale_betas_zero_snr.
/// The numbers are computed in float32, as diffusers does. Throws CheckpointError for bad values.
TrainingSchedule read_training_schedule(const ConfigReader& config, const TrainingDefaults& defaults);

/// What divides by the share of the picture that is left at a timestep, and what to do about it.
struct Divider {
  const char* name;
  const char* advice;
};
/// DDIM's and DDPM's prediction of the noise.
constexpr Divider kOfEpsilon = {
    "\"prediction_type\" epsilon",
    "Such models predict v: --scheduler-config '{\"prediction_type\": \"v_prediction\"}'"};
/// Schedulers that do so whatever the model predicts.
constexpr Divider kOfEverything = {"this scheduler",
                                   "--scheduler DDIMScheduler does not, for models that predict v"};

/// Throws CheckpointError naming the keys of `config` where nothing of the picture is left (zero terminal
/// SNR) at one of `timesteps`.
void require_signal(const TrainingSchedule& training, const std::vector<double>& timesteps,
                    const ConfigReader& config, const Divider& divider);
/// The same for noise levels made of training.sigmas(): those must be finite.
void require_finite_sigmas(const TrainingSchedule& training, const std::vector<double>& sigmas,
                           const ConfigReader& config);

}  // namespace diffract::schedulers
