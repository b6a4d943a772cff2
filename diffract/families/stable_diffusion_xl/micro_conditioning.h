#pragma once
#include <ATen/ATen.h>

#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"

namespace diffract::families {

/// The numbers that Stable Diffusion XL is told of a picture, for the prompt and for the negative prompt:
/// [N], float32.
struct TimeIds {
  at::Tensor positive, negative;
};

/// How many there are: of the base model two of each of three sizes, of a refiner the picture's score in
/// place of the last two. `requires_aesthetics_score`: model_index.json's, which says which it is.
int64_t time_id_count(bool requires_aesthetics_score);

/// The numbers of a request's pictures of `size`. As in diffusers, the base model's negative prompt has
/// numbers of its own only where the request has both of its sizes; warns of a field that has no effect.
/// Source: pipeline_stable_diffusion_xl.py, pipeline_stable_diffusion_xl_img2img.py.
TimeIds time_ids_of(const pipelines::Request& request, const loading::ImageSize& size,
                    bool requires_aesthetics_score);

}  // namespace diffract::families
