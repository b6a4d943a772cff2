#include "diffract/models/ip_adapter/image_projection.h"

#include "diffract/core/error.h"
#include "diffract/nn/activation.h"

namespace diffract::models {
namespace {

constexpr int64_t kHeadDim = 64;  // of IP-Adapter Plus, whatever its width

}  // namespace

ImageProjectionConfig ImageProjectionConfig::from_json(const ConfigReader& config) {
  constexpr int64_t kMost = 1 << 16;
  ImageProjectionConfig c{.image_embed_dim = config.integer("image_embed_dim", 1, kMost),
                          .cross_attention_dim = config.integer("cross_attention_dim", 1, kMost),
                          .num_image_text_embeds = config.integer("num_image_text_embeds", 1, 4096),
                          .depth = config.integer("depth", 0, 64, 0)};
  if (c.depth == 0) return c;
  c.hidden_dim = config.integer("hidden_dim", 1, kMost);
  c.inner_dim = config.integer("inner_dim", kHeadDim, kMost);
  c.feed_forward_dim = config.integer("feed_forward_dim", 1, 1 << 18);
  if (c.inner_dim % kHeadDim != 0)
    throw CheckpointError("{}: \"inner_dim\" is {}; expected a multiple of {}", config.source(), c.inner_dim,
                          kHeadDim);
  return c;
}

Json ImageProjectionConfig::to_json() const {
  Json json = {{"image_embed_dim", image_embed_dim},
               {"cross_attention_dim", cross_attention_dim},
               {"num_image_text_embeds", num_image_text_embeds},
               {"depth", depth}};
  if (depth == 0) return json;
  json["hidden_dim"] = hidden_dim;
  json["inner_dim"] = inner_dim;
  json["feed_forward_dim"] = feed_forward_dim;
  return json;
}

ImageProjection::ImageProjection(const WeightScope& w, const ImageProjectionConfig& c)
    : proj_(w / "proj", c.image_embed_dim, c.num_image_text_embeds * c.cross_attention_dim),
      norm_(w / "norm", c.cross_attention_dim),
      num_image_text_embeds_(c.num_image_text_embeds) {}

Tensor ImageProjection::operator()(const Tensor& image_embeds) const {
  return norm_(proj_(image_embeds).view({image_embeds.size(0), num_image_text_embeds_, -1}));
}

PerceiverLayer::PerceiverLayer(const WeightScope& w, const ImageProjectionConfig& c)
    : norm1_(w / "0" / "norm1", c.hidden_dim),
      norm2_(w / "0" / "norm2", c.hidden_dim),
      norm_(w / "1" / "0", c.hidden_dim),
      to_q_(w / "0" / "to_q", c.hidden_dim, c.inner_dim, nn::Bias::no),
      to_kv_(w / "0" / "to_kv", c.hidden_dim, 2 * c.inner_dim, nn::Bias::no),
      to_out_(w / "0" / "to_out", c.inner_dim, c.hidden_dim, nn::Bias::no),
      fc1_(w / "1" / "1", c.hidden_dim, c.feed_forward_dim, nn::Bias::no),
      fc2_(w / "1" / "3", c.feed_forward_dim, c.hidden_dim, nn::Bias::no),
      core_(w, {.heads = c.inner_dim / kHeadDim}, c.inner_dim) {}

Tensor PerceiverLayer::operator()(const Tensor& latents, const Tensor& states) const {
  const Tensor own = norm2_(latents);
  const Tensor seen = at::cat({norm1_(states), own}, 1);
  const auto kv = to_kv_(seen).chunk(2, -1);
  const Tensor query = to_q_(own);
  const Tensor x = to_out_(core_(query, kv[0].contiguous(), kv[1].contiguous()), {.residual = latents});
  return fc2_(nn::activate(nn::Activation::gelu, fc1_(norm_(x))), {.residual = x});
}

IPAdapterPlusImageProjection::IPAdapterPlusImageProjection(const WeightScope& w,
                                                           const ImageProjectionConfig& c)
    : latents_(w.tensor("latents", {1, c.num_image_text_embeds, c.hidden_dim})),
      proj_in_(w / "proj_in", c.image_embed_dim, c.hidden_dim),
      proj_out_(w / "proj_out", c.hidden_dim, c.cross_attention_dim),
      norm_out_(w / "norm_out", c.cross_attention_dim) {
  for (int64_t i = 0; i < c.depth; ++i) layers_.emplace_back(w / "layers" / i, c);
}

Tensor IPAdapterPlusImageProjection::operator()(const Tensor& given) const {
  const Tensor states = proj_in_(given);
  Tensor latents = latents_.repeat({given.size(0), 1, 1});
  for (const PerceiverLayer& layer : layers_) latents = layer(latents, states);
  return norm_out_(proj_out_(latents));
}

AnyImageProjection::AnyImageProjection(const WeightScope& w, const ImageProjectionConfig& c) {
  if (c.reads_hidden_states())
    plus_.emplace(w, c);
  else
    basic_.emplace(w, c);
}

}  // namespace diffract::models
