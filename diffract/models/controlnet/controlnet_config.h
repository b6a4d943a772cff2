#pragma once
#include <vector>

#include "diffract/models/unet/unet_2d_config.h"

namespace diffract::models {

/// Fields are the keys of config.json; those that a UNet has too are in `encoder`.
struct ControlNetConfig {
  UNet2DConditionConfig encoder;
  int64_t conditioning_channels = 3;  // of the control picture
  /// Of the convolutions over the control picture; each but the first halves it.
  std::vector<int64_t> conditioning_embedding_out_channels = {16, 32, 96, 256};
  bool takes_bgr = false;               // "controlnet_conditioning_channel_order"
  bool global_pool_conditions = false;  // each residual is averaged over the map; guess mode is on

  /// Pixels of the control picture a latent, each way.
  int64_t scale_factor() const { return int64_t{1} << (conditioning_embedding_out_channels.size() - 1); }
  /// How many skips the encoder has.
  size_t skips() const;
  static ControlNetConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
};

}  // namespace diffract::models
