#pragma once
#include <optional>
#include <vector>

#include "diffract/models/unet/unet_2d_blocks.h"
#include "diffract/nn/timestep.h"

namespace diffract::models {

/// What some UNets take beside sample, time and text; undefined for those that do not.
struct UNetExtras {
  Tensor added = {};     // [B, time_embed_dim], added_embedding()'s: pooled text and sizes
  Tensor guidance = {};  // [B], float32: the scale less 1, of a model that was distilled with guidance
};

// B batch, C in_channels, H and W of the latents (pixels / 8), T text tokens, D cross_attention_dim
/// Predicts the noise (or what the scheduler's prediction_type names) in Stable Diffusion's latents.
/// Source: diffusers unet_2d_condition.py.
class UNet2DConditionModel {
 public:
  static constexpr const char* kClassName = "UNet2DConditionModel";
  using Config = UNet2DConditionConfig;

  UNet2DConditionModel(const UNet2DConditionConfig& config, const WeightScope& weights);

  /// What a UNet with an added embedding takes beside text: [B, time_embed_dim] of pooled text [B, D] and
  /// numbers [B, N], float32 (TextTimeEmbedding), once for all steps. Throws UsageError where it has none.
  Tensor added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const;

  /// Prediction [B, out_channels, H, W] for `sample` [B, C, H, W] at `timestep`, a number on the training
  /// schedule (0 to 1000, fractions allowed), with `text` [B, T, D]; on the sample's device. Throws
  /// UsageError when they do not fit each other or the config.
  Tensor operator()(const Tensor& sample, double timestep, const Tensor& text,
                    const UNetExtras& extras = {}) const;
  /// The same with `timesteps` [B], float32 on the sample's device.
  Tensor operator()(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                    const UNetExtras& extras = {}) const;

  const UNet2DConditionConfig& config() const { return config_; }

 private:
  Tensor time_embedding(const Tensor& timesteps, const UNetExtras& extras) const;
  std::vector<const PlacedResnet*> resnets() const;
  void check(const Tensor& sample, const Tensor& text, const UNetExtras& extras) const;

  UNet2DConditionConfig config_;
  nn::Placed<nn::Conv2d> conv_in_;
  nn::TimestepEmbedding time_embedding_;
  std::optional<TextTimeEmbedding> add_embedding_;
  std::optional<nn::Placed<nn::Linear>> cond_proj_;  // of the guidance, into time_embedding_'s input
  std::vector<UNetDownBlock> down_blocks_;
  std::optional<UNetMidBlock> mid_block_;
  std::vector<UNetUpBlock> up_blocks_;
  nn::Placed<nn::GroupNorm> conv_norm_out_;
  nn::Placed<nn::Conv2d> conv_out_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
