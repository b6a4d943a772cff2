#pragma once
#include <cstdint>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::models {

struct FluxTransformer2DConfig {   // fields are the keys of config.json
  int64_t in_channels = 64;        // latent channels after 2x2 packing
  int64_t out_channels = 64;       // in_channels where the config has none
  int64_t num_layers = 19;         // two-stream blocks
  int64_t num_single_layers = 38;  // one-stream blocks
  int64_t attention_head_dim = 128;
  int64_t num_attention_heads = 24;
  int64_t joint_attention_dim = 4096;   // T5's width
  int64_t pooled_projection_dim = 768;  // CLIP's width
  bool guidance_embeds = false;         // true in guidance-distilled checkpoints
  std::vector<int64_t> axes_dims_rope = {16, 56, 56};

  int64_t inner_dim() const { return num_attention_heads * attention_head_dim; }
  static FluxTransformer2DConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
};

}  // namespace diffract::models
