#pragma once
#include <optional>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/models/shared/resnet_2d.h"
#include "diffract/nn/attention.h"

namespace diffract::models {

/// Fields are the keys of config.json.
struct AutoencoderKLConfig {
  int64_t in_channels = 3, out_channels = 3;
  int64_t latent_channels = 4;
  std::vector<int64_t> block_out_channels;  // from the finest level
  int64_t layers_per_block = 1;
  int64_t norm_num_groups = 32;
  nn::Activation act_fn = nn::Activation::silu;
  double scaling_factor = 0.18215;  // latents in the denoise loop = encoder's output * scaling_factor
  double shift_factor = 0.0;        // subtracted before the scaling
  bool use_quant_conv = true, use_post_quant_conv = true;
  bool mid_block_add_attention = true;
  std::vector<double> latents_mean, latents_std;  // of each channel of the loop's latents; empty: 0 and 1

  size_t levels() const { return block_out_channels.size(); }
  /// Pixels a latent, each way.
  int64_t scale_factor() const { return int64_t{1} << (levels() - 1); }
  static AutoencoderKLConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
};

/// Attention of one head among all pixels, with a norm before and a residual around it.
class VaeAttention {
 public:
  VaeAttention(const WeightScope& w, const AutoencoderKLConfig& config);
  Tensor operator()(const Tensor& x) const;  // [B, C, H, W] -> the same

 private:
  nn::Placed<nn::GroupNorm> group_norm_;
  nn::Attention attention_;
};

/// resnet, attention, resnet over the coarsest features. Source: diffusers UNetMidBlock2D.
class VaeMidBlock {
 public:
  VaeMidBlock(const WeightScope& w, const AutoencoderKLConfig& config);
  Tensor operator()(const Tensor& x) const;

 private:
  nn::Placed<ResnetBlock2D> resnet_in_;
  std::optional<VaeAttention> attention_;
  nn::Placed<ResnetBlock2D> resnet_out_;
};

/// Pixels to the moments of the latents: [B, in_channels, H, W] -> [B, 2 latent_channels, H/8, W/8].
/// Source: diffusers vae.py, Encoder.
class VaeEncoder {
 public:
  VaeEncoder(const WeightScope& w, const AutoencoderKLConfig& config);
  Tensor operator()(const Tensor& pixels) const;

 private:
  struct Level {
    std::vector<nn::Placed<ResnetBlock2D>> resnets;
    std::optional<nn::Placed<Downsample2D>> downsampler;
  };
  nn::Placed<nn::Conv2d> conv_in_;
  std::vector<Level> down_blocks_;
  VaeMidBlock mid_block_;
  nn::Placed<nn::GroupNorm> conv_norm_out_;
  nn::Placed<nn::Conv2d> conv_out_;
  nn::Activation act_fn_;
};

/// Latents to pixels: [B, latent_channels, h, w] -> [B, out_channels, 8h, 8w]. Source: diffusers vae.py,
/// Decoder.
class VaeDecoder {
 public:
  VaeDecoder(const WeightScope& w, const AutoencoderKLConfig& config);
  Tensor operator()(const Tensor& latents) const;

 private:
  struct Level {
    std::vector<nn::Placed<ResnetBlock2D>> resnets;
    std::optional<nn::Placed<Upsample2D>> upsampler;
  };
  nn::Placed<nn::Conv2d> conv_in_;
  VaeMidBlock mid_block_;
  std::vector<Level> up_blocks_;
  nn::Placed<nn::GroupNorm> conv_norm_out_;
  nn::Placed<nn::Conv2d> conv_out_;
  nn::Activation act_fn_;
};

}  // namespace diffract::models
