#pragma once
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

// B batch, T tokens, D d_model, H num_heads
struct T5Config {  // fields are the keys of config.json
  int64_t vocab_size = 32128;
  int64_t d_model = 512;
  int64_t d_kv = 64;  // width of a head
  int64_t d_ff = 2048;
  int64_t num_layers = 6;
  int64_t num_heads = 8;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
  bool is_gated_act = false;  // both from feed_forward_proj, e.g. "gated-gelu"
  nn::Activation dense_act_fn = nn::Activation::relu;

  int64_t inner_dim() const { return num_heads * d_kv; }
  static T5Config from_json(const ConfigReader& file);  // CheckpointError names the bad key
};

/// One layer of the encoder: attention and a feed-forward, each behind a norm and with a residual.
class T5Block {
 public:
  T5Block(const WeightScope& w, const T5Config& config);
  /// [B, T, D] -> [B, T, D]; `position_bias` [1, H, T, T] is added to the scores.
  Tensor operator()(const Tensor& x, const Tensor& position_bias) const;

 private:
  Tensor attention(const Tensor& normed, const Tensor& position_bias, const Tensor& residual) const;
  Tensor feed_forward(const Tensor& normed, const Tensor& residual) const;

  nn::RMSNorm attention_norm_, feed_forward_norm_;
  nn::LinearGroup qkv_;
  nn::Linear o_;
  std::optional<nn::LinearGroup> gated_wi_;
  std::optional<nn::Linear> wi_;  // not gated
  nn::Linear wo_;
  nn::AttentionCore core_;
  nn::Activation activation_;
};

/// The encoder half of T5 1.1. Source: transformers modeling_t5.py, T5EncoderModel.
class T5EncoderModel {
 public:
  static constexpr const char* kClassName = "T5EncoderModel";
  using Config = T5Config;

  /// Computes in float32 where the policy says float16, and gives its states in float16.
  T5EncoderModel(const T5Config& config, const WeightScope& weights);

  /// Hidden states [B, T, D] of `input_ids`, int64 [B, T]. Padding is read like any other token, as FLUX was
  /// trained. The states are on the model's device. Throws UsageError for ids out of range.
  Tensor operator()(const Tensor& input_ids) const;

  const T5Config& config() const { return config_; }

 private:
  T5EncoderModel(const T5Config& config, const WeightScope& weights, at::ScalarType result);
  /// [1, H, T, T], from the distance of each two tokens. Source: Raffel et al. 2020 section 2.1.
  Tensor position_bias(int64_t tokens, at::Device device) const;

  T5Config config_;
  at::Device device_;
  at::ScalarType result_;
  nn::Placed<nn::Embedding> shared_;
  nn::Placed<nn::Embedding> relative_attention_bias_;  // the first layer's; all layers use it
  nn::BlockList<T5Block> blocks_;
  nn::Placed<nn::RMSNorm> final_layer_norm_;
};

}  // namespace diffract::models
