#include "diffract/models/controlnet/controlnet_config.h"

#include "diffract/core/error.h"

namespace diffract::models {

size_t ControlNetConfig::skips() const {
  size_t count = encoder.levels();  // conv_in's, and each downsampler's
  for (const int64_t layers : encoder.layers_per_block) count += static_cast<size_t>(layers);
  return count;
}

ControlNetConfig ControlNetConfig::from_json(const ConfigReader& config) {
  constexpr int64_t kMostChannels = 1 << 14;
  constexpr size_t kMostLevels = 8;
  ControlNetConfig c{.encoder = UNet2DConditionConfig::encoder_from_json(config)};
  if (!c.encoder.has_mid_block)
    throw CheckpointError("{}: \"mid_block_type\" is null, which a ControlNet cannot be", config.source());
  c.conditioning_channels = config.integer("conditioning_channels", 1, 64, c.conditioning_channels);
  if (c.conditioning_channels != 3)
    throw CheckpointError("{}: \"conditioning_channels\" is {}; expected 3, as pictures have",
                          config.source(), c.conditioning_channels);
  const char* key = "conditioning_embedding_out_channels";
  c.conditioning_embedding_out_channels =
      config.integers(key, 1, kMostChannels, {}, c.conditioning_embedding_out_channels);
  const size_t levels = c.conditioning_embedding_out_channels.size();
  if (levels < 1 || levels > kMostLevels)
    throw CheckpointError("{}: \"{}\" has {} entries; expected 1 to {}", config.source(), key, levels,
                          kMostLevels);
  c.takes_bgr = config.choice("controlnet_conditioning_channel_order", {"rgb", "bgr"}, "rgb") == "bgr";
  c.global_pool_conditions = config.boolean("global_pool_conditions", false);
  return c;
}

}  // namespace diffract::models
