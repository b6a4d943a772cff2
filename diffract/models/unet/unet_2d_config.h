#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/models/ip_adapter/image_projection.h"
#include "diffract/models/shared/sample_size.h"
#include "diffract/models/unet/text_time_embedding.h"
#include "diffract/nn/activation.h"

namespace diffract::models {

/// Where a UNet's config has the IP-Adapters that were loaded with it.
constexpr const char* kIpAdaptersKey = "ip_adapters";

/// Fields are the keys of config.json; those that diffusers takes as one number or one a level are one a
/// level here. What diffusers has beyond them (class embeddings, image conditioning and the like) is refused
/// by name.
struct UNet2DConditionConfig {
  int64_t sample_size = 64, sample_width = 64;  // latent height and width that the checkpoint was trained for
  int64_t in_channels = 4, out_channels = 4;
  std::vector<std::string> down_block_types,
      up_block_types;  // from the finest level, from the coarsest level
  std::vector<int64_t> block_out_channels;
  std::vector<int64_t> layers_per_block;
  /// Of each attention of a level, on the way down and on the way up (one more).
  std::vector<std::vector<int64_t>> transformer_layers_per_block, transformer_layers_on_the_way_up;
  std::vector<int64_t> cross_attention_dim;  // width of the text's tokens
  std::vector<int64_t> num_attention_heads;  // diffusers' attention_head_dim where that stands for it
  std::vector<bool> only_cross_attention;
  std::optional<TextTimeConfig> text_time;  // "addition_embed_type"
  bool has_mid_block = true;
  bool mid_block_attends = true;  // else it is one resnet alone
  double mid_block_scale_factor = 1.0;
  int64_t downsample_padding = 1;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  nn::Activation act_fn = nn::Activation::silu;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  bool center_input_sample = false;
  int64_t time_cond_proj_dim = 0;  // width of the guidance's embedding; 0: the model takes no guidance
  bool use_linear_projection = false;
  bool upcast_attention = false;
  int64_t conv_in_kernel = 3, conv_out_kernel = 3;
  std::vector<ImageProjectionConfig> ip_adapters;  // that it was loaded with: no file's key

  size_t levels() const { return block_out_channels.size(); }
  int64_t time_embed_dim() const { return 4 * block_out_channels.front(); }
  static UNet2DConditionConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
  /// Of the half that ControlNets have too: without the way up, whose keys are not looked at.
  static UNet2DConditionConfig encoder_from_json(const ConfigReader& config);
};

/// A UNet's "sample_size": one number for both, or [height, width]. Throws CheckpointError for another.
SampleSize sample_size_of(const ConfigReader& config);

}  // namespace diffract::models
