#pragma once
#include <optional>
#include <vector>

#include "diffract/models/flux/flux_blocks.h"
#include "diffract/models/flux/flux_modulation.h"
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
  static constexpr const char* kClassName = "FluxTransformer2DModel";
  using Config = FluxTransformer2DConfig;

  struct Conditioning {           // the same in all steps of a walk; a step reads, modulations() reads (m)
    Tensor prompt_embeds;         // [B, T, joint_attention_dim]
    Tensor pooled_prompt_embeds;  // (m) [B, pooled_projection_dim]
    Tensor rope;                  // [T + I, attention_head_dim / 2, 2], from rotary()
    Tensor guidance;              // (m) [B], defined exactly when config().guidance_embeds
  };

  struct Modulation {            // what a step takes from its time, guidance and pooled text
    Tensor temb;                 // [B, D], activated
    std::vector<Tensor> blocks;  // of each block, the double ones first: [B, 12 D] and [B, 3 D]
  };

  FluxTransformer2DModel(const FluxTransformer2DConfig& config, const WeightScope& weights);

  /// The modulation of a step at each of the flow times `sigmas` [S, B] in [0, 1]. A quarter of the weights
  /// are for this alone: they are used once for all S. Throws UsageError when `cond` does not fit.
  std::vector<Modulation> modulations(const Tensor& sigmas, const Conditioning& cond) const;
  /// Velocity [B, I, out_channels] of `latents` [B, I, C], float32, on the latents' device. Throws UsageError
  /// when `cond` does not fit the latents or the config.
  Tensor operator()(const Tensor& latents, const Modulation& modulation, const Conditioning& cond) const;
  /// The same as tensors in a row, for a recorded step (kernels::StepGraphs).
  static std::vector<Tensor> tensors_of(const Tensor& latents, const Modulation& modulation,
                                        const Conditioning& cond);
  Tensor operator()(const std::vector<Tensor>& tensors) const;
  /// The same at flow time `sigma` [B].
  Tensor operator()(const Tensor& latents, const Tensor& sigma, const Conditioning& cond) const;

  /// Rotary embedding of `text_ids` [T, 3] followed by `image_ids` [I, 3], on the model's device.
  Tensor rotary(const Tensor& text_ids, const Tensor& image_ids) const;

  /// Bytes of a step's modulation.
  int64_t modulation_bytes(int64_t batch) const;

  const FluxTransformer2DConfig& config() const { return config_; }
  /// Where rotary() puts its result, and where it is best to keep the latents.
  at::Device device() const { return device_; }

 private:
  void check(const Tensor& latents, const Conditioning& cond) const;

  FluxTransformer2DConfig config_;
  nn::Placed<nn::Linear> x_embedder_, context_embedder_;
  FluxTimeTextEmbed time_text_embed_;
  nn::BlockList<FluxModulation> modulations_, single_modulations_;
  nn::BlockList<FluxTransformerBlock> transformer_blocks_;
  nn::BlockList<FluxSingleTransformerBlock> single_transformer_blocks_;
  nn::Placed<AdaLayerNormContinuous> norm_out_;
  nn::Placed<nn::Linear> proj_out_;
  at::ScalarType arithmetic_;
  at::Device device_;
};

/// The modulation of each step of a walk. They are made for some steps at a time, as many as take
/// `kMostBytes`, so that weights that are not kept where they compute are brought once for all of these.
class FluxModulations {
 public:
  static constexpr int64_t kMostBytes = 64 << 20;
  /// For steps at the flow times `sigmas` [S, B]; the model outlives this. Throws UsageError for other
  /// sigmas.
  FluxModulations(const FluxTransformer2DModel& model, Tensor sigmas,
                  const FluxTransformer2DModel::Conditioning& cond);
  static int64_t steps_at_once(const FluxTransformer2DModel& model, int64_t steps, int64_t batch);
  /// Of steps in their order; valid until the next call.
  const FluxTransformer2DModel::Modulation& operator[](int64_t step);

 private:
  const FluxTransformer2DModel& model_;
  Tensor sigmas_;
  FluxTransformer2DModel::Conditioning cond_;
  int64_t begin_ = 0, at_once_ = 1;
  std::vector<FluxTransformer2DModel::Modulation> made_;  // of the steps from begin_ on
};

}  // namespace diffract::models
