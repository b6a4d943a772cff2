#include "diffract/models/vision/clip_vision_model.h"

#include "diffract/core/error.h"
#include "diffract/models/shared/config_part.h"

namespace diffract::models {
namespace {

// A model around CLIPVisionModel that was saved by transformers before version 5 has its tensors below
// "vision_model" once more; a device map has not.
WeightScope vision_root(const WeightScope& w) {
  const WeightScope below = w.child("", "vision_model");
  return (below / "embeddings").has("class_embedding") ? below : w;
}

}  // namespace

CLIPVisionConfig CLIPVisionConfig::from_json(const ConfigReader& file) {
  const ConfigReader config =
      config_part(file, {.key = "vision_config", .model_type = "clip_vision_model", .what = "vision"},
                  {"image_size", "patch_size", "hidden_size", "intermediate_size", "num_hidden_layers"});
  CLIPVisionConfig c;
  c.hidden_size = config.integer("hidden_size", 1, 1 << 16, c.hidden_size);
  c.intermediate_size = config.integer("intermediate_size", 1, 1 << 18, c.intermediate_size);
  c.num_hidden_layers = config.integer("num_hidden_layers", 1, 1000, c.num_hidden_layers);
  c.num_attention_heads = config.integer("num_attention_heads", 1, 1 << 12, c.num_attention_heads);
  c.projection_dim = config.integer("projection_dim", 1, 1 << 16, c.projection_dim);
  c.num_channels = config.integer("num_channels", 3, 3, c.num_channels);
  c.image_size = config.integer("image_size", 1, 1 << 12, c.image_size);
  c.patch_size = config.integer("patch_size", 1, c.image_size, std::min(c.patch_size, c.image_size));
  c.hidden_act = nn::parse_activation(config.choice("hidden_act", nn::activation_names(), "quick_gelu"));
  c.layer_norm_eps = config.number("layer_norm_eps", 0, 1, c.layer_norm_eps);
  if (c.hidden_size % c.num_attention_heads != 0)
    throw CheckpointError("{}: \"hidden_size\" {} is not a multiple of \"num_attention_heads\" {}",
                          config.source(), c.hidden_size, c.num_attention_heads);
  return c;
}

CLIPVisionEmbeddings::CLIPVisionEmbeddings(const WeightScope& w, const CLIPVisionConfig& c)
    : class_embedding_(w.tensor("class_embedding", {c.hidden_size})),
      patch_embedding_((w / "patch_embedding")
                           .weight("weight", {c.hidden_size, c.num_channels, c.patch_size, c.patch_size})),
      position_embedding_((w / "position_embedding").tensor("weight", {c.tokens(), c.hidden_size})),
      patch_size_(c.patch_size) {}

Tensor CLIPVisionEmbeddings::operator()(const Tensor& pixels) const {
  const Tensor patches =
      at::conv2d(pixels.to(class_embedding_.scalar_type()), patch_embedding_.get(), {}, patch_size_)
          .flatten(2)
          .transpose(1, 2);
  const Tensor whole = class_embedding_.expand({pixels.size(0), 1, class_embedding_.size(0)});
  return at::cat({whole, patches}, 1) + position_embedding_;
}

CLIPVisionModel::CLIPVisionModel(const CLIPVisionConfig& c, const WeightScope& weights)
    : config_(c),
      device_(weights.device()),
      embeddings_(vision_root(weights) / "embeddings", c),
      pre_layrnorm_(vision_root(weights) / "pre_layrnorm", c.hidden_size, c.layer_norm_eps),
      layers_(vision_root(weights) / "encoder" / "layers", c.num_hidden_layers, c.layer()),
      post_layernorm_(vision_root(weights) / "post_layernorm", c.hidden_size, c.layer_norm_eps) {}

Tensor CLIPVisionModel::embed(const Tensor& pixels) const {
  const int64_t side = config_.image_size;
  if (pixels.dim() != 4 || pixels.size(0) < 1 || pixels.size(1) != config_.num_channels ||
      pixels.size(2) != side || pixels.size(3) != side)
    throw UsageError("image encoder: pixels have shape {}; expected [batch, {}, {}, {}]",
                     c10::str(pixels.sizes()), config_.num_channels, side, side);
  return pre_layrnorm_(embeddings_(pixels));
}

Tensor CLIPVisionModel::hidden_state(const Tensor& pixels) const {
  Tensor x = embed(pixels);
  for (size_t i = 0; i + 1 < layers_.size(); ++i) x = layers_[i](x);
  return nn::to_device(x, device_);
}

Tensor CLIPVisionModel::pooled(const Tensor& pixels) const {
  Tensor x = embed(pixels);
  for (const auto& layer : layers_) x = layer(x);
  return nn::to_device(post_layernorm_(x.select(1, 0)), device_);
}

CLIPVisionModelWithProjection::CLIPVisionModelWithProjection(const CLIPVisionConfig& c,
                                                             const WeightScope& weights)
    : device_(weights.device()),
      vision_model_(c, weights / "vision_model"),
      visual_projection_(weights / "visual_projection", c.hidden_size, c.projection_dim, nn::Bias::no) {}

Tensor CLIPVisionModelWithProjection::image_embeds(const Tensor& pixels) const {
  return nn::to_device(visual_projection_(vision_model_.pooled(pixels)), device_);
}

}  // namespace diffract::models
