#pragma once
#include <optional>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/models/shared/clip_encoder_layer.h"
#include "diffract/nn/block_list.h"
#include "diffract/nn/embedding.h"

namespace diffract::models {

// B batch, T tokens, D hidden_size
struct CLIPTextConfig {  // fields are the keys of config.json
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t projection_dim = 512;  // of CLIPTextModelWithProjection
  int64_t max_position_embeddings = 77;
  nn::Activation hidden_act = nn::Activation::quick_gelu;
  double layer_norm_eps = 1e-5;
  int64_t eos_token_id = 49407;
  CLIPLayerShape layer() const {
    return {.hidden_size = hidden_size,
            .intermediate_size = intermediate_size,
            .num_attention_heads = num_attention_heads,
            .hidden_act = hidden_act,
            .layer_norm_eps = layer_norm_eps,
            .causal = true};
  }
  static CLIPTextConfig from_json(const ConfigReader& file);  // CheckpointError names the bad key
};

/// The text encoder of CLIP. Source: transformers modeling_clip.py, CLIPTextModel.
class CLIPTextModel {
 public:
  static constexpr const char* kClassName = "CLIPTextModel";
  using Config = CLIPTextConfig;

  struct Output {
    Tensor last_hidden_state;  // [B, T, D], after the final norm
    Tensor pooled;             // [B, D], the state at each text's first end token
  };

  CLIPTextModel(const CLIPTextConfig& config, const WeightScope& weights);

  /// Encodes `input_ids`, int64 [B, T] with T up to max_position_embeddings. With `clip_skip` = n the last n
  /// layers are left out and the final norm follows. The output is on the model's device. Throws UsageError
  /// for ids, lengths or a skip out of range.
  Output operator()(const Tensor& input_ids, int64_t clip_skip = 0) const;

  struct States {
    Tensor hidden_state;  // [B, T, D], before the final norm
    Tensor pooled;        // [B, D], as Output's
  };
  /// transformers' hidden_states[-2 - clip_skip], and the pooled state of all layers. Errors as above.
  States states(const Tensor& input_ids, int64_t clip_skip = 0) const;

  const CLIPTextConfig& config() const { return config_; }

 private:
  Tensor embed(const Tensor& input_ids, int64_t clip_skip) const;
  Output finished(const Tensor& x, const Tensor& input_ids) const;

  CLIPTextConfig config_;
  at::Device device_;
  nn::Placed<nn::Embedding> token_embedding_, position_embedding_;
  nn::BlockList<CLIPEncoderLayer> layers_;
  nn::Placed<nn::LayerNorm> final_layer_norm_;
};

/// CLIP's text encoder with a projection of the pooled state. Source: transformers modeling_clip.py,
/// CLIPTextModelWithProjection.
class CLIPTextModelWithProjection {
 public:
  static constexpr const char* kClassName = "CLIPTextModelWithProjection";
  using Config = CLIPTextConfig;

  CLIPTextModelWithProjection(const CLIPTextConfig& config, const WeightScope& weights);

  struct Output {
    Tensor hidden_state;  // [B, T, D], hidden_states[-2 - clip_skip]
    Tensor text_embeds;   // [B, projection_dim]
  };
  /// As CLIPTextModel::states.
  Output operator()(const Tensor& input_ids, int64_t clip_skip = 0) const;

  const CLIPTextConfig& config() const { return text_model_.config(); }

 private:
  at::Device device_;
  CLIPTextModel text_model_;
  nn::Placed<nn::Linear> text_projection_;
};

}  // namespace diffract::models
