#pragma once
#include <limits>
#include <optional>

#include "diffract/pipelines/request.h"
#include "diffract/pipelines/task.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/dtype.h"

namespace diffract::pipelines {

/// Predicts noise or velocity for one request. Owns what is constant over its steps.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// What the model makes of `input`, which is the schedule's: [B, ...], or [2B, ...] with guidance, the
  /// negative half first.
  virtual at::Tensor predict(const at::Tensor& input, size_t step, double timestep) = 0;
};

/// Classifier-free guidance, as guide() takes it.
struct Guidance {
  bool is_on = false;
  double scale = 1, rescale = 0;
};

/// What a walk from noise to latents needs beside the latents; all live as long as it.
struct DenoiseSetting {
  Denoiser& denoiser;
  schedulers::Schedule& schedule;
  schedulers::NoiseSource noise;  // of the steps
  Guidance guidance;
  const tensor::DtypePolicy& policy;
  const StepObserver& observe;
  size_t end_step = std::numeric_limits<size_t>::max();  // the first that is not made
};

/// Whether a share of the walk (denoising_end, denoising_start) divides it: 0 and 1 do not, as in diffusers.
inline bool divides_walk(const std::optional<double>& share) { return share && *share > 0 && *share < 1; }

/// How many of a schedule's timesteps belong to the first `denoising_end` of the walk, in (0, 1); all for
/// 0, 1 and none. Source: diffusers pipeline_stable_diffusion_xl.py, with its rounding, half to even.
size_t steps_until(std::optional<double> denoising_end, const std::vector<double>& timesteps,
                   int64_t num_train_timesteps);

/// The denoise loop, the only one: latents [B, ...] from where the task and the schedule begin. Throws
/// CheckpointError for values that are not finite, what `observe` throws, and Cancelled when the process was
/// asked to stop.
at::Tensor denoise(const Task& task, const DenoiseSetting& setting);

}  // namespace diffract::pipelines
