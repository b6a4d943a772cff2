#include "diffract/models/text/t5_encoder_model.h"

#include <cmath>

#include "diffract/core/error.h"
#include "diffract/kernels/gated_gelu.h"
#include "diffract/models/shared/config_part.h"

namespace diffract::models {
namespace {

// Checkpoints may hold the token table under either name, or both.
WeightScope token_table(const WeightScope& w) {
  const WeightScope shared = w / "shared";
  return shared.has("weight") ? shared : w.child("shared", "encoder.embed_tokens");
}

// The bucket of each distance from -(tokens - 1) to tokens - 1: single distances near, wider ones far off.
Tensor distance_buckets(int64_t tokens, const T5Config& c, at::Device device) {
  const Tensor positions = at::arange(tokens, at::TensorOptions(at::kLong).device(device));
  const Tensor distance = positions.unsqueeze(0) - positions.unsqueeze(1);  // [query, key]
  const int64_t buckets = c.relative_attention_num_buckets / 2;             // a half each way
  const int64_t exact = buckets / 2;
  const Tensor away = distance.abs();
  const double octaves =
      std::log(static_cast<double>(c.relative_attention_max_distance) / static_cast<double>(exact));
  const Tensor far =
      exact + ((away.to(at::kFloat) / exact).log() / octaves * (buckets - exact)).to(at::kLong);
  const Tensor bucket = at::where(away < exact, away, far.clamp_max(buckets - 1));
  return bucket + (distance > 0).to(at::kLong) * buckets;
}

}  // namespace

T5Config T5Config::from_json(const ConfigReader& file) {
  const ConfigReader config =
      config_part(file, {.key = "text_config", .model_type = "t5", .what = "text"},
                  {"vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"});
  T5Config c;
  c.vocab_size = config.integer("vocab_size", 1, 1 << 24, c.vocab_size);
  c.d_model = config.integer("d_model", 1, 1 << 16, c.d_model);
  c.d_kv = config.integer("d_kv", 1, 1 << 12, c.d_kv);
  c.d_ff = config.integer("d_ff", 1, 1 << 18, c.d_ff);
  c.num_layers = config.integer("num_layers", 1, 1000, c.num_layers);
  c.num_heads = config.integer("num_heads", 1, 1 << 12, c.num_heads);
  c.relative_attention_num_buckets =
      config.integer("relative_attention_num_buckets", 4, 1 << 16, c.relative_attention_num_buckets);
  c.relative_attention_max_distance =
      config.integer("relative_attention_max_distance", 2, 1 << 20, c.relative_attention_max_distance);
  c.layer_norm_epsilon = config.number("layer_norm_epsilon", 0, 1, c.layer_norm_epsilon);
  const std::string kind = config.choice(
      "feed_forward_proj", {"relu", "gated-gelu", "gated-silu", "gated-relu", "gelu", "silu"}, "relu");
  c.is_gated_act = kind.starts_with("gated-");
  const std::string name = c.is_gated_act ? kind.substr(6) : kind;
  // transformers reads "gated-gelu" as the tanh form, for the sake of the first checkpoints.
  c.dense_act_fn = kind == "gated-gelu" ? nn::Activation::gelu_new : nn::parse_activation(name);
  if (c.relative_attention_max_distance <= c.relative_attention_num_buckets / 4)
    throw CheckpointError(
        "{}: \"relative_attention_max_distance\" {} is not above a quarter of "
        "\"relative_attention_num_buckets\" {}",
        config.source(), c.relative_attention_max_distance, c.relative_attention_num_buckets);
  return c;
}

T5Block::T5Block(const WeightScope& w, const T5Config& c)
    : attention_norm_(w / "layer.0.layer_norm", c.d_model, c.layer_norm_epsilon),
      feed_forward_norm_(w / "layer.1.layer_norm", c.d_model, c.layer_norm_epsilon),
      qkv_({nn::Linear(w / "layer.0.SelfAttention.q", c.d_model, c.inner_dim(), nn::Bias::no),
            nn::Linear(w / "layer.0.SelfAttention.k", c.d_model, c.inner_dim(), nn::Bias::no),
            nn::Linear(w / "layer.0.SelfAttention.v", c.d_model, c.inner_dim(), nn::Bias::no)}),
      o_(w / "layer.0.SelfAttention.o", c.inner_dim(), c.d_model, nn::Bias::no),
      wo_(w / "layer.1.DenseReluDense.wo", c.d_ff, c.d_model, nn::Bias::no),
      core_(w, {.heads = c.num_heads, .biased = true, .scale = 1.0}, c.inner_dim()),
      activation_(c.dense_act_fn) {
  const WeightScope dense = w / "layer.1.DenseReluDense";
  if (c.is_gated_act) {
    gated_wi_.emplace(std::vector{nn::Linear(dense / "wi_0", c.d_model, c.d_ff, nn::Bias::no),
                                  nn::Linear(dense / "wi_1", c.d_model, c.d_ff, nn::Bias::no)});
  } else {
    wi_.emplace(dense / "wi", c.d_model, c.d_ff, nn::Bias::no);
  }
}

Tensor T5Block::attention(const Tensor& normed, const Tensor& position_bias, const Tensor& residual) const {
  const auto qkv = qkv_(normed);
  return o_(core_(qkv[0], qkv[1], qkv[2], {.bias = position_bias, .out = {}}), {.residual = residual});
}

Tensor T5Block::feed_forward(const Tensor& normed, const Tensor& residual) const {
  if (wi_) return wo_(nn::activate(activation_, (*wi_)(normed)), {.residual = residual});
  if (gated_wi_->is_fused() && activation_ == nn::Activation::gelu_new)
    return wo_(kernels::gated_gelu(gated_wi_->joined(normed), kernels::GatedGelu::t5),
               {.residual = residual});
  auto wi = (*gated_wi_)(normed);
  return wo_(nn::activate(activation_, std::move(wi[0])).mul_(wi[1]), {.residual = residual});
}

Tensor T5Block::operator()(const Tensor& input, const Tensor& position_bias) const {
  const Tensor x = attention(attention_norm_(input), position_bias, input);
  return feed_forward(feed_forward_norm_(x), x);
}

// The hidden values of the published weights are beyond float16's range, so transformers keeps `wo` and what
// is added to it in float32. Here all of the encoder is, which runs once a picture; its result is in range
// again.
T5EncoderModel::T5EncoderModel(const T5Config& c, const WeightScope& w)
    : T5EncoderModel(c, w.at_least_float32(), w.arithmetic()) {}

T5EncoderModel::T5EncoderModel(const T5Config& c, const WeightScope& w, at::ScalarType result)
    : config_(c),
      device_(w.device()),
      result_(result),
      shared_(token_table(w), c.vocab_size, c.d_model),
      relative_attention_bias_(w / "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
                               c.relative_attention_num_buckets, c.num_heads),
      blocks_(w / "encoder.block", c.num_layers, c),
      final_layer_norm_(w / "encoder.final_layer_norm", c.d_model, c.layer_norm_epsilon) {}

Tensor T5EncoderModel::position_bias(int64_t tokens, at::Device device) const {
  const Tensor values = relative_attention_bias_(distance_buckets(tokens, config_, device));  // [T, T, H]
  return values.permute({2, 0, 1}).unsqueeze(0).contiguous();
}

Tensor T5EncoderModel::operator()(const Tensor& input_ids) const {
  const auto [least, most] = input_ids.aminmax();
  if (least.item<int64_t>() < 0 || most.item<int64_t>() >= config_.vocab_size)
    throw UsageError("text encoder 2: token id {} is outside its vocabulary of {}", most.item<int64_t>(),
                     config_.vocab_size);
  const Tensor bias = position_bias(input_ids.size(1), input_ids.device());
  Tensor x = shared_(input_ids);
  for (const auto& block : blocks_) x = block(x, bias);
  return nn::to_device(final_layer_norm_(x), device_).to(result_);
}

}  // namespace diffract::models
