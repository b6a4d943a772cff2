#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace diffract::nn {

using at::Tensor;

/// Rotary position embedding [L, sum of `axes_dims` / 2, 2], cosine and sine, float32, of positions `ids` [L,
/// axes], float32. Axis i turns axes_dims[i] of a head's dimensions, in pairs, at frequencies from 1 down to
/// 1 / theta. Source: Su et al. 2021 section 3.2, in the form of diffusers get_1d_rotary_pos_embed.
Tensor rotary_embedding(const Tensor& ids, const std::vector<int64_t>& axes_dims, double theta = 10000.0);

}  // namespace diffract::nn
