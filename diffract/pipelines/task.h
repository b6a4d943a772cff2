#pragma once
#include <ATen/ATen.h>

#include "diffract/schedulers/schedule.h"

namespace diffract::pipelines {

/// What a walk of the denoise loop makes its latents from, beside the texts: the task of a request as a
/// value. B images; all of the latents' form and units, on their device. What is undefined is not there.
struct Task {
  at::Tensor noise;               // [B, ...], standard normal: one draw, for the start and for what is kept
  at::Tensor image_latents;       // [B, ...], of the picture that the walk begins with, or whose part is kept
  at::Tensor mask;                // 1 where the picture is made anew: the rest is put back after each step
  at::Tensor extra_channels;      // [B, C', ...], which the denoiser reads behind the latents in each step
  bool begins_with_noise = true;  // alone; else the picture with the noise of where the schedule begins
  bool begins_with_image = false;  // as it is: its latents are as noisy as the schedule is there

  /// The latents that the walk begins with.
  at::Tensor start(const schedulers::Schedule& schedule) const {
    if (begins_with_image) return image_latents;
    if (begins_with_noise) return noise * schedule.init_noise_sigma();
    return schedule.add_noise(image_latents, noise, schedule.begin());
  }
  /// The latents after evaluation `index` of those before `end`, with what is kept put back: as noisy as they
  /// are, at the end clean.
  at::Tensor kept(const at::Tensor& latents, const schedulers::Schedule& schedule, size_t index,
                  size_t end) const {
    if (!mask.defined()) return latents;
    const bool is_last = index + 1 == end;
    const at::Tensor known = is_last ? image_latents : schedule.add_noise(image_latents, noise, index + 1);
    return (1 - mask) * known + mask * latents;
  }
};

}  // namespace diffract::pipelines
