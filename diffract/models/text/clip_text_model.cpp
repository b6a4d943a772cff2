#include "diffract/models/text/clip_text_model.h"

#include "diffract/core/error.h"
#include "diffract/models/shared/config_part.h"

namespace diffract::models {
namespace {

// Checkpoints saved by transformers before version 5 have their tensors below "text_model"; the module
// itself, and so a device map, has not.
WeightScope text_root(const WeightScope& w) {
  const WeightScope below = w.child("", "text_model");
  return (below / "final_layer_norm").has("weight") ? below : w;
}

}  // namespace

CLIPTextConfig CLIPTextConfig::from_json(const ConfigReader& file) {
  const ConfigReader config = config_part(
      file, {.key = "text_config", .model_type = "clip_text_model", .what = "text"},
      {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"});
  CLIPTextConfig c;
  c.vocab_size = config.integer("vocab_size", 1, 1 << 24, c.vocab_size);
  c.hidden_size = config.integer("hidden_size", 1, 1 << 16, c.hidden_size);
  c.intermediate_size = config.integer("intermediate_size", 1, 1 << 18, c.intermediate_size);
  c.num_hidden_layers = config.integer("num_hidden_layers", 1, 1000, c.num_hidden_layers);
  c.num_attention_heads = config.integer("num_attention_heads", 1, 1 << 12, c.num_attention_heads);
  c.projection_dim = config.integer("projection_dim", 1, 1 << 16, c.projection_dim);
  c.max_position_embeddings =
      config.integer("max_position_embeddings", 2, 1 << 16, c.max_position_embeddings);
  c.hidden_act = nn::parse_activation(config.choice("hidden_act", nn::activation_names(), "quick_gelu"));
  c.layer_norm_eps = config.number("layer_norm_eps", 0, 1, c.layer_norm_eps);
  c.eos_token_id = config.integer("eos_token_id", 0, 1 << 24, c.eos_token_id);
  config.unsupported_unless(
      "use_attention_mask");  // the padding is attended to, as Stable Diffusion was trained
  if (c.hidden_size % c.num_attention_heads != 0)
    throw CheckpointError("{}: \"hidden_size\" {} is not a multiple of \"num_attention_heads\" {}",
                          config.source(), c.hidden_size, c.num_attention_heads);
  return c;
}

CLIPTextModel::CLIPTextModel(const CLIPTextConfig& c, const WeightScope& weights)
    : config_(c),
      device_(weights.device()),
      token_embedding_(text_root(weights) / "embeddings" / "token_embedding", c.vocab_size, c.hidden_size),
      position_embedding_(text_root(weights) / "embeddings" / "position_embedding", c.max_position_embeddings,
                          c.hidden_size),
      layers_(text_root(weights) / "encoder" / "layers", c.num_hidden_layers, c.layer()),
      final_layer_norm_(text_root(weights) / "final_layer_norm", c.hidden_size, c.layer_norm_eps) {}

Tensor CLIPTextModel::embed(const Tensor& input_ids, int64_t clip_skip) const {
  const int64_t tokens = input_ids.size(1);
  if (tokens < 1 || tokens > config_.max_position_embeddings)
    throw UsageError("text encoder: {} tokens; it takes 1 to {}", tokens, config_.max_position_embeddings);
  const auto [least, most] = input_ids.aminmax();
  if (least.item<int64_t>() < 0 || most.item<int64_t>() >= config_.vocab_size)
    throw UsageError("text encoder: token id {} is outside its vocabulary of {}", most.item<int64_t>(),
                     config_.vocab_size);
  if (clip_skip < 0 || clip_skip >= config_.num_hidden_layers)
    throw UsageError("clip_skip {}: expected 0 to {}, one less than the text encoder's layers", clip_skip,
                     config_.num_hidden_layers - 1);
  const Tensor x = token_embedding_(input_ids);
  return x + nn::beside(x, position_embedding_(at::arange(tokens, input_ids.options())));
}

CLIPTextModel::Output CLIPTextModel::finished(const Tensor& last, const Tensor& input_ids) const {
  const Tensor x = nn::to_device(final_layer_norm_(last), device_);
  // Older configs carry eos_token_id 2, which no text contains; CLIP's end token is then the largest id.
  const Tensor end = config_.eos_token_id == 2
                         ? input_ids.argmax(1)
                         : input_ids.eq(config_.eos_token_id).to(at::kInt).argmax(1);  // [B]
  const auto pick = [&](const Tensor& indices) { return nn::beside(x, indices); };
  return {.last_hidden_state = x,
          .pooled = x.index({pick(at::arange(x.size(0), input_ids.options())), pick(end)})};
}

CLIPTextModel::Output CLIPTextModel::operator()(const Tensor& input_ids, int64_t clip_skip) const {
  Tensor x = embed(input_ids, clip_skip);
  for (size_t i = 0; i + static_cast<size_t>(clip_skip) < layers_.size(); ++i) x = layers_[i](x);
  return finished(x, input_ids);
}

CLIPTextModel::States CLIPTextModel::states(const Tensor& input_ids, int64_t clip_skip) const {
  Tensor x = embed(input_ids, clip_skip), hidden;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i + 1 + static_cast<size_t>(clip_skip) == layers_.size()) hidden = x;
    x = layers_[i](x);
  }
  return {.hidden_state = nn::to_device(hidden, device_), .pooled = finished(x, input_ids).pooled};
}

CLIPTextModelWithProjection::CLIPTextModelWithProjection(const CLIPTextConfig& c, const WeightScope& weights)
    : device_(weights.device()),
      text_model_(c, weights / "text_model"),
      text_projection_(weights / "text_projection", c.hidden_size, c.projection_dim, nn::Bias::no) {}

CLIPTextModelWithProjection::Output CLIPTextModelWithProjection::operator()(const Tensor& input_ids,
                                                                            int64_t clip_skip) const {
  const auto [hidden_state, pooled] = text_model_.states(input_ids, clip_skip);
  return {.hidden_state = hidden_state, .text_embeds = nn::to_device(text_projection_(pooled), device_)};
}

}  // namespace diffract::models
