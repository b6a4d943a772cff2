#pragma once
#include <vector>

#include "diffract/nn/to_device.h"

namespace diffract::models {

using at::Tensor;

/// What a UNet's attention looks at beside the picture. B batch, T text tokens, D cross_attention_dim
struct Attended {
  Attended() = default;
  Attended(Tensor tokens) : text(std::move(tokens)) {}

  Tensor text;                 // [B, T, D]
  std::vector<Tensor> images;  // of each IP-Adapter, [B, tokens of its pictures, D]
  Tensor scales;               // [IP-Adapters], float32: how much each counts
};

template <typename Map>
Attended map_tensors(const Attended& attended, Map&& map) {
  Attended mapped(nn::map_tensors(attended.text, map));
  for (const Tensor& tokens : attended.images) mapped.images.push_back(nn::map_tensors(tokens, map));
  mapped.scales = nn::map_tensors(attended.scales, map);
  return mapped;
}

}  // namespace diffract::models
