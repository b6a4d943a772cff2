#pragma once
#include <optional>
#include <vector>

#include "diffract/models/unet/unet_encoder.h"

namespace diffract::models {

// B batch, C in_channels, H and W of the latents (pixels / 8), T text tokens, D cross_attention_dim
/// Predicts the noise (or what the scheduler's prediction_type names) in Stable Diffusion's latents.
/// Source: diffusers unet_2d_condition.py.
class UNet2DConditionModel {
 public:
  static constexpr const char* kClassName = "UNet2DConditionModel";
  using Config = UNet2DConditionConfig;

  UNet2DConditionModel(const UNet2DConditionConfig& config, const WeightScope& weights);

  /// UNetEncoder::added_embedding.
  Tensor added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const {
    return encoder_.added_embedding(text_embeds, time_ids);
  }

  /// The tokens [1, N * K, D] of an IP-Adapter's N pictures, of which the picture encoder made `embeds`: [N,
  /// E], of Plus [N, T, E]. Once for all steps. Throws UsageError for another shape.
  Tensor image_tokens(size_t adapter, const Tensor& embeds) const;

  /// Prediction [B, out_channels, H, W] for `sample` [B, C, H, W] at `timestep`, a number on the training
  /// schedule (0 to 1000, fractions allowed), with `text` [B, T, D]; on the sample's device. `residuals`: of
  /// ControlNets, one for each skip and one for the middle, added to them; none: there is no ControlNet.
  /// Throws UsageError when they do not fit each other or the config.
  Tensor operator()(const Tensor& sample, double timestep, const Tensor& text, const UNetExtras& extras = {},
                    const std::vector<Tensor>& residuals = {}) const;
  /// The same with `timesteps` [B], float32 on the sample's device.
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                    const UNetExtras& extras = {}, const std::vector<Tensor>& residuals = {}) const;

  const UNet2DConditionConfig& config() const { return encoder_.config(); }

 private:
  UNetEncoder encoder_;
  std::vector<UNetUpBlock> up_blocks_;
  std::vector<nn::Placed<AnyImageProjection>> encoder_hid_proj_;  // one an IP-Adapter
  nn::Placed<nn::GroupNorm> conv_norm_out_;
  nn::Placed<nn::Conv2d> conv_out_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
