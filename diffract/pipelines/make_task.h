#pragma once
#include <functional>

#include "diffract/models/vae/autoencoder.h"
#include "diffract/pipelines/task.h"
#include "diffract/pipelines/task_inputs.h"

namespace diffract::pipelines {

/// What a task asks of a family: its VAE, and what its denoiser reads.
struct TaskModels {
  /// Of pixels [P, 3, H, W] in [-1, 1], on their device.
  std::function<models::LatentDistribution(const at::Tensor& pixels)> encode;
  std::function<at::Tensor(const at::Tensor& latents)> scaled;  // the VAE's as the loop has them
  double scaling_factor;                                        // alone
  int64_t vae_scale_factor;                                     // pixels a latent each way
  int64_t latent_channels;
  bool encodes_to_distribution;  // which latents are drawn from
  int64_t denoiser_channels;     // twice as many and one more: the denoiser reads a mask and a masked picture
  at::Device device;             // of the latents

  bool reads_mask() const { return denoiser_channels == 2 * latent_channels + 1; }
};

/// Throws UsageError where the denoiser cannot do the task: one that reads a mask needs it.
void check_denoiser(const TaskInputs& inputs, const TaskModels& models);

/// The schedule begins where the strength says, or denoising_start. `steps`: of the whole walk;
/// `num_train_timesteps`: the scheduler's. Throws UsageError where no step is left. Source: get_timesteps of
/// diffusers' Stable Diffusion pipelines.
void begin_walk(schedulers::Schedule& schedule, const TaskInputs& inputs, int64_t steps,
                int64_t num_train_timesteps);

/// Encodes the pictures, and draws noise [B, C, h, w] in diffusers' order: for the VAE's sample of the
/// picture, for the walk, for the sample of the masked picture; a VAE that gives no distribution needs none
/// for its samples. Throws UsageError for latents of another shape.
Task make_task(const TaskInputs& inputs, const TaskModels& models, const schedulers::NoiseSource& draw);

}  // namespace diffract::pipelines
