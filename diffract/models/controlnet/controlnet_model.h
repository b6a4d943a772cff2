#pragma once
#include <vector>

#include "diffract/models/controlnet/controlnet_config.h"
#include "diffract/models/unet/unet_encoder.h"

namespace diffract::models {

/// Convolutions over a control picture, down to the latents' size. Source: diffusers controlnet.py,
/// ControlNetConditioningEmbedding.
class ControlNetConditioningEmbedding {
 public:
  ControlNetConditioningEmbedding(const WeightScope& w, const ControlNetConfig& config);
  Tensor operator()(Tensor x) const;  // [P, 3, H, W] -> [P, block_out_channels[0], H / scale, W / scale]

 private:
  nn::Placed<nn::Conv2d> conv_in_;
  std::vector<nn::Placed<nn::Conv2d>> blocks_;
  nn::Placed<nn::Conv2d> conv_out_;
};

/// A pointwise convolution of features, times a number, averaged over the map where residuals are.
class ControlNetBlock {
 public:
  ControlNetBlock(const WeightScope& w, int64_t channels, bool averages)
      : conv_(w, channels, channels, {.kernel = 1, .padding = 0}), averages_(averages) {}
  Tensor operator()(const Tensor& x, const Tensor& scale) const;  // [B, C, H, W], [] -> [B, C, H, W]

 private:
  nn::Conv2d conv_;
  bool averages_;
};

// B batch, C in_channels, H and W of the latents, T text tokens, D cross_attention_dim
/// What a UNet's skips and middle are moved by, so that its picture follows another: the encoder of a UNet,
/// which reads that picture too. Source: diffusers controlnet.py; Zhang et al. 2023.
class ControlNetModel {
 public:
  static constexpr const char* kClassName = "ControlNetModel";
  using Config = ControlNetConfig;

  ControlNetModel(const ControlNetConfig& config, const WeightScope& weights);

  /// What it reads of control pictures [P, 3, H, W] in [0, 1]: [P, block_out_channels[0], h, w], on their
  /// device, once for all steps. Throws UsageError for other shapes.
  Tensor embedded(const Tensor& pictures) const;
  /// As UNetEncoder::added_embedding.
  Tensor added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const {
    return encoder_.added_embedding(text_embeds, time_ids);
  }
  /// What the residuals are multiplied by, float32 [skips + 1] on the CPU. In guess mode the finest skip is
  /// moved by a tenth of `scale`, the middle by all of it.
  Tensor scales(double scale, bool guess_mode) const;

  struct Inputs {
    Tensor hint;        // [B, block_out_channels[0], h, w], embedded()'s
    Tensor added = {};  // [B, time_embed_dim], added_embedding()'s, where the config has one
    Tensor scales;      // scales(), on any device
  };
  /// One residual for each skip of the UNet, and one for its middle, for `sample` [B, C, h, w], `timesteps`
  /// [B], float32, and `text` [B, T, D]. Throws UsageError when they do not fit each other or the config.
  std::vector<Tensor> operator()(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                                 const Inputs& inputs) const;

  const ControlNetConfig& config() const { return config_; }

 private:
  ControlNetConfig config_;
  UNetEncoder encoder_;
  ControlNetConditioningEmbedding controlnet_cond_embedding_;
  std::vector<nn::Placed<ControlNetBlock>> controlnet_down_blocks_;
  nn::Placed<ControlNetBlock> controlnet_mid_block_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
