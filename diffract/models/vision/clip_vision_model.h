#pragma once
#include "diffract/core/json.h"
#include "diffract/models/shared/clip_encoder_layer.h"
#include "diffract/nn/block_list.h"

namespace diffract::models {

// B batch, S image_size, T tokens: one of the class and one each patch, D hidden_size
struct CLIPVisionConfig {  // fields are the keys of config.json
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t projection_dim = 512;  // of CLIPVisionModelWithProjection
  int64_t num_channels = 3;
  int64_t image_size = 224, patch_size = 32;  // pixels each way
  nn::Activation hidden_act = nn::Activation::quick_gelu;
  double layer_norm_eps = 1e-5;

  int64_t tokens() const { return 1 + (image_size / patch_size) * (image_size / patch_size); }
  CLIPLayerShape layer() const {
    return {.hidden_size = hidden_size,
            .intermediate_size = intermediate_size,
            .num_attention_heads = num_attention_heads,
            .hidden_act = hidden_act,
            .layer_norm_eps = layer_norm_eps,
            .causal = false};
  }
  static CLIPVisionConfig from_json(const ConfigReader& file);  // CheckpointError names the bad key
};

/// Patches of a picture as tokens, behind the one that stands for the whole.
class CLIPVisionEmbeddings {
 public:
  CLIPVisionEmbeddings(const WeightScope& w, const CLIPVisionConfig& config);
  Tensor operator()(const Tensor& pixels) const;  // [B, channels, S, S] -> [B, T, D]

 private:
  Tensor class_embedding_;           // [D]
  weights::Weight patch_embedding_;  // [D, channels, patch, patch]
  Tensor position_embedding_;        // [T, D]
  int64_t patch_size_;
};

/// The picture encoder of CLIP. Source: transformers modeling_clip.py, CLIPVisionModel.
class CLIPVisionModel {
 public:
  CLIPVisionModel(const CLIPVisionConfig& config, const WeightScope& weights);

  /// transformers' hidden_states[-2], [B, T, D]: what the last layer gets of `pixels` [B, channels, S, S],
  /// normalised as the image processor says. On the model's device. Throws UsageError for another shape.
  Tensor hidden_state(const Tensor& pixels) const;
  /// transformers' pooler_output, [B, D]: the class token's state after all layers and the last norm.
  Tensor pooled(const Tensor& pixels) const;

  const CLIPVisionConfig& config() const { return config_; }

 private:
  Tensor embed(const Tensor& pixels) const;

  CLIPVisionConfig config_;
  at::Device device_;
  nn::Placed<CLIPVisionEmbeddings> embeddings_;
  nn::Placed<nn::LayerNorm> pre_layrnorm_;  // the checkpoints' spelling
  nn::BlockList<CLIPEncoderLayer> layers_;
  nn::Placed<nn::LayerNorm> post_layernorm_;
};

/// CLIP's picture encoder with a projection into the space that texts and pictures share. Source:
/// transformers modeling_clip.py, CLIPVisionModelWithProjection.
class CLIPVisionModelWithProjection {
 public:
  static constexpr const char* kClassName = "CLIPVisionModelWithProjection";
  using Config = CLIPVisionConfig;

  CLIPVisionModelWithProjection(const CLIPVisionConfig& config, const WeightScope& weights);

  /// [B, projection_dim]; `pixels` as CLIPVisionModel::hidden_state takes them.
  Tensor image_embeds(const Tensor& pixels) const;
  Tensor hidden_state(const Tensor& pixels) const { return vision_model_.hidden_state(pixels); }

  const CLIPVisionConfig& config() const { return vision_model_.config(); }

 private:
  at::Device device_;
  CLIPVisionModel vision_model_;
  nn::Placed<nn::Linear> visual_projection_;
};

}  // namespace diffract::models
