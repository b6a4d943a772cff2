#pragma once
#include <ATen/ATen.h>

#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"

namespace diffract::families {

/// How many numbers Stable Diffusion XL is told of a picture: two of each of its three sizes.
inline constexpr int64_t kTimeIds = 6;

/// What they are for the prompt and for the negative prompt: [kTimeIds], float32, pixels.
struct TimeIds {
  at::Tensor positive, negative;
};
/// Of a request's pictures of `size`. As in diffusers, the negative prompt has numbers of its own only where
/// the request has both of its sizes; warns of one that has no effect. Source:
/// pipeline_stable_diffusion_xl.py.
TimeIds time_ids_of(const pipelines::Request& request, const loading::ImageSize& size);

}  // namespace diffract::families
