#pragma once
#include <optional>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/nn/activation.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/block_list.h"
#include "diffract/nn/embedding.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

// B batch, T tokens, D hidden_size
struct CLIPTextConfig {  // fields are the keys of config.json
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  nn::Activation hidden_act = nn::Activation::quick_gelu;
  double layer_norm_eps = 1e-5;
  int64_t eos_token_id = 49407;
  static CLIPTextConfig from_json(const ConfigReader& file);  // CheckpointError names the bad key
};

/// One layer of the text encoder: causal attention and an MLP, each behind a norm and with a residual.
class CLIPEncoderLayer {
 public:
  CLIPEncoderLayer(const WeightScope& w, const CLIPTextConfig& config);
  Tensor operator()(const Tensor& x) const;  // [B, T, D] -> [B, T, D]

 private:
  nn::LayerNorm layer_norm1_, layer_norm2_;
  nn::Attention self_attn_;
  nn::Linear fc1_, fc2_;
  nn::Activation hidden_act_;
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

  const CLIPTextConfig& config() const { return config_; }

 private:
  CLIPTextConfig config_;
  at::Device device_;
  nn::Placed<nn::Embedding> token_embedding_, position_embedding_;
  nn::BlockList<CLIPEncoderLayer> layers_;
  nn::Placed<nn::LayerNorm> final_layer_norm_;
};

}  // namespace diffract::models
