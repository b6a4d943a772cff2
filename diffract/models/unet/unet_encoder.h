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
  // Of each IP-Adapter, image_tokens()', a row of it each; and how much they count: [IP-Adapters], float32.
  std::vector<Tensor> image_tokens = {};
  Tensor image_scales = {};
};

/// A convolution that leaves the map's size as it is.
inline nn::ConvShape conv_of_same_size(int64_t kernel) {
  return {.kernel = kernel, .padding = (kernel - 1) / 2};
}

// B batch, C in_channels, H and W of the latents, T text tokens, D cross_attention_dim
/// The half of a UNet that a ControlNet has too: the embedding of the time, the way down, the middle. Its
/// members carry the names of the checkpoint beside those of the rest. Source: diffusers
/// unet_2d_condition.py and controlnet.py.
class UNetEncoder {
 public:
  struct Features {
    std::vector<Tensor> skips;  // from the finest, as the way up takes them from the end
    Tensor middle;
  };

  /// `name`: of the model, in messages; lives as long as it.
  UNetEncoder(const char* name, const UNet2DConditionConfig& config, const WeightScope& weights);

  /// What a model with an added embedding takes beside text: [B, time_embed_dim] of pooled text [B, D] and
  /// numbers [B, N], float32 (TextTimeEmbedding), once for all steps. Throws UsageError where it has none.
  Tensor added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const;
  /// What all blocks are told, of `sample` [B, C, H, W], `timesteps` [B], float32, and `text` [B, T, D].
  /// `resnets`: all of the model's. Throws UsageError when they do not fit each other or the config.
  UNetConditioning conditioning(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                                const UNetExtras& extras,
                                const std::vector<const PlacedResnet*>& resnets) const;
  /// `hint` [B, block_out_channels[0], H, W]: added to the finest features; undefined: nothing is.
  Features operator()(const Tensor& sample, const UNetConditioning& cond, const Tensor& hint = {}) const;

  std::vector<const PlacedResnet*> resnets() const;
  const UNet2DConditionConfig& config() const { return config_; }

 private:
  Tensor time_embedding(const Tensor& timesteps, const UNetExtras& extras) const;
  void check(const Tensor& sample, const Tensor& text, const UNetExtras& extras) const;

  const char* name_;
  UNet2DConditionConfig config_;
  nn::Placed<nn::Conv2d> conv_in_;
  nn::TimestepEmbedding time_embedding_;
  std::optional<TextTimeEmbedding> add_embedding_;
  std::optional<nn::Placed<nn::Linear>> cond_proj_;  // of the guidance, into time_embedding_'s input
  std::vector<UNetDownBlock> down_blocks_;
  std::optional<UNetMidBlock> mid_block_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
