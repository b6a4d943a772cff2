#pragma once
#include <ATen/ATen.h>

#include "diffract/pipelines/pipeline.h"

namespace diffract::families {

// FLUX's transformer sees each 2x2 square of latents as one token. Source: diffusers pipeline_flux.py.

/// [B, C, h, w] -> [B, h/2 * w/2, 4 C].
at::Tensor pack_latents(const at::Tensor& latents);
/// [B, L, 4 C] of a picture of `size` pixels -> [B, C, h, w]. `vae_scale_factor`: pixels a latent each way.
/// Throws UsageError when L does not fit the size.
at::Tensor unpack_latents(const at::Tensor& latents, const loading::ImageSize& size,
                          int64_t vae_scale_factor);

/// Positions [L, 3] of the image tokens, float32: 0, row, column.
at::Tensor latent_image_ids(int64_t rows, int64_t columns);

/// The shift of the noise levels for a picture of `image_tokens`: a line through base_shift at
/// base_image_seq_len and max_shift at max_image_seq_len, keys of the scheduler's config.
double shift_of(int64_t image_tokens, const schedulers::SchedulerSpec& scheduler);

}  // namespace diffract::families
