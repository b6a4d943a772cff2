#pragma once
#include <cstdint>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::schedulers {

/// What differs between the scheduler classes' defaults and options for the noise they were trained with.
struct TrainingDefaults {
  double beta_start = 0.0001, beta_end = 0.02;
  bool has_exp = false;               // knows beta_schedule "exp"
  bool has_rescale_zero_snr = false;  // knows rescale_betas_zero_snr
  bool keep_last_above_zero = false;  // with it, the last alpha becomes 2^-24, so that its sigma is finite
};

/// How much of the picture is left at each training timestep.
struct TrainingSchedule {
  std::vector<double> alphas_cumprod;  // in (0, 1], falling; 0 at the end with rescale_betas_zero_snr

  int64_t timesteps() const { return static_cast<int64_t>(alphas_cumprod.size()); }
  /// Noise to signal, sqrt((1 - a) / a), at each training timestep; rising.
  std::vector<double> sigmas() const;
};

/// Reads num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas and rescale_betas_zero_snr.
/// The numbers are computed in float32, as diffusers does. Throws CheckpointError for bad values.
TrainingSchedule read_training_schedule(const ConfigReader& config, const TrainingDefaults& defaults);

}  // namespace diffract::schedulers
