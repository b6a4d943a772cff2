#pragma once
#include <optional>
#include <vector>

#include "diffract/models/flux_blocks.h"
#include "diffract/nn/block_list.h"
#include "diffract/nn/timestep.h"

namespace diffract::models {

/// Time, guidance and pooled text as one vector. Source: diffusers embeddings.py,
/// CombinedTimestepGuidanceTextProjEmbeddings.
class FluxTimeTextEmbed {
 public:
  FluxTimeTextEmbed(const WeightScope& w, const FluxTransformer2DConfig& config);
  /// [B, D] of `sigma` [B] in [0, 1], `guidance` [B] (undefined where the config has none) and `pooled` [B,
  /// pooled_projection_dim].
  Tensor operator()(const Tensor& sigma, const Tensor& guidance, const Tensor& pooled) const;

 private:
  nn::TimestepEmbedding timestep_embedder_;
  std::optional<nn::TimestepEmbedding> guidance_embedder_;
  nn::TimestepEmbedding text_embedder_;  // two linear layers too
};

// B batch, I image tokens (H/16 * W/16), T text tokens, D inner_dim, C in_channels
/// Predicts the flow velocity of FLUX.1's latents. Source: diffusers transformer_flux.py.
class FluxTransformer2DModel {
 public:
  struct Conditioning {           // the same in all steps of a walk
    Tensor prompt_embeds;         // [B, T, joint_attention_dim]
    Tensor pooled_prompt_embeds;  // [B, pooled_projection_dim]
    Tensor rope;                  // [T + I, attention_head_dim / 2, 2], from rotary()
    Tensor guidance;              // [B], defined exactly when config().guidance_embeds
  };

  FluxTransformer2DModel(const FluxTransformer2DConfig& config, const WeightScope& weights);

  /// Velocity [B, I, out_channels] of `latents` [B, I, C] at flow time `sigma` [B] in [0, 1], float32, on the
  /// latents' device. Throws UsageError when `cond` does not fit the latents or the config.
  Tensor operator()(const Tensor& latents, const Tensor& sigma, const Conditioning& cond) const;

  /// Rotary embedding of `text_ids` [T, 3] followed by `image_ids` [I, 3], on the model's device.
  Tensor rotary(const Tensor& text_ids, const Tensor& image_ids) const;

  const FluxTransformer2DConfig& config() const { return config_; }
  /// Where rotary() puts its result, and where it is best to keep the latents.
  at::Device device() const { return device_; }

 private:
  void check(const Tensor& latents, const Tensor& sigma, const Conditioning& cond) const;

  FluxTransformer2DConfig config_;
  nn::Placed<nn::Linear> x_embedder_, context_embedder_;
  FluxTimeTextEmbed time_text_embed_;
  nn::BlockList<FluxTransformerBlock> transformer_blocks_;
  nn::BlockList<FluxSingleTransformerBlock> single_transformer_blocks_;
  nn::Placed<AdaLayerNormContinuous> norm_out_;
  nn::Placed<nn::Linear> proj_out_;
  at::ScalarType arithmetic_;
  at::Device device_;
};

}  // namespace diffract::models
