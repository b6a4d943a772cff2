#include "diffract/models/unet/unet_encoder.h"

#include "diffract/core/error.h"

namespace diffract::models {

UNetEncoder::UNetEncoder(const char* name, const UNet2DConditionConfig& c, const WeightScope& w)
    : name_(name),
      config_(c),
      conv_in_(w / "conv_in", c.in_channels, c.block_out_channels.front(),
               conv_of_same_size(c.conv_in_kernel)),
      time_embedding_(w / "time_embedding", c.block_out_channels.front(), c.time_embed_dim(), c.act_fn),
      arithmetic_(w.arithmetic()) {
  if (c.text_time) add_embedding_.emplace(w / "add_embedding", *c.text_time, c.time_embed_dim());
  if (c.time_cond_proj_dim > 0)
    cond_proj_.emplace(w / "time_embedding" / "cond_proj", c.time_cond_proj_dim, c.block_out_channels.front(),
                       nn::Bias::no);
  if (c.has_mid_block) mid_block_.emplace(w / "mid_block", c);
  down_blocks_.reserve(c.levels());
  for (size_t level = 0; level < c.levels(); ++level)
    down_blocks_.emplace_back(w / "down_blocks" / static_cast<int64_t>(level), c, level);
}

void UNetEncoder::check(const Tensor& sample, const Tensor& text, const UNetExtras& extras) const {
  if (sample.dim() != 4 || sample.size(1) != config_.in_channels)
    throw UsageError("{}: sample has shape {}; expected [batch, {}, height, width]", name_,
                     c10::str(sample.sizes()), config_.in_channels);
  if (text.dim() != 3 || text.size(0) != sample.size(0) ||
      text.size(2) != config_.cross_attention_dim.front())
    throw UsageError("{}: text embeddings have shape {}; expected [{}, tokens, {}]", name_,
                     c10::str(text.sizes()), sample.size(0), config_.cross_attention_dim.front());
  if (extras.added.defined() != add_embedding_.has_value())
    throw UsageError("{}: {} pooled text and sizes (\"addition_embed_type\")", name_,
                     extras.added.defined() ? "takes no" : "needs");
  if (extras.image_tokens.size() != config_.ip_adapters.size())
    throw UsageError("{}: tokens for {} IP-Adapters; it has {}", name_, extras.image_tokens.size(),
                     config_.ip_adapters.size());
  const Tensor& guidance = extras.guidance;
  if (guidance.defined() != cond_proj_.has_value())
    throw UsageError("{}: {} a guidance (\"time_cond_proj_dim\")", name_,
                     guidance.defined() ? "takes no" : "needs");
  if (guidance.defined() && (guidance.dim() != 1 || guidance.size(0) != sample.size(0)))
    throw UsageError("{}: guidance has shape {}; expected [{}]", name_, c10::str(guidance.sizes()),
                     sample.size(0));
}

Tensor UNetEncoder::added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const {
  if (!add_embedding_)
    throw UsageError("{}: takes no pooled text and sizes (\"addition_embed_type\")", name_);
  return (*add_embedding_)(text_embeds, time_ids);
}

Tensor UNetEncoder::time_embedding(const Tensor& timesteps, const UNetExtras& extras) const {
  Tensor sinusoid = nn::sinusoidal_embedding(timesteps, {.width = config_.block_out_channels.front(),
                                                         .flip_sin_to_cos = config_.flip_sin_to_cos,
                                                         .frequency_shift = config_.freq_shift});
  sinusoid = sinusoid.to(arithmetic_);
  if (cond_proj_) {
    constexpr double kGuidanceScale = 1000;  // diffusers' get_guidance_scale_embedding
    const Tensor wave =
        nn::sinusoidal_embedding(extras.guidance * kGuidanceScale, {.width = config_.time_cond_proj_dim});
    sinusoid = sinusoid + nn::beside(sinusoid, (*cond_proj_)(wave.to(arithmetic_)));
  }
  Tensor embedding = time_embedding_(sinusoid);
  if (extras.added.defined()) embedding = embedding + nn::beside(embedding, extras.added).to(arithmetic_);
  return nn::activate(config_.act_fn, embedding);
}

std::vector<const PlacedResnet*> UNetEncoder::resnets() const {
  std::vector<const PlacedResnet*> all;
  for (const auto& block : down_blocks_)
    for (const PlacedResnet& resnet : block.resnets()) all.push_back(&resnet);
  if (mid_block_)
    for (const PlacedResnet* resnet : mid_block_->resnets()) all.push_back(resnet);
  return all;
}

UNetConditioning UNetEncoder::conditioning(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                                           const UNetExtras& extras,
                                           const std::vector<const PlacedResnet*>& resnets) const {
  check(sample, text, extras);
  UNetConditioning cond{.temb = time_embedding(timesteps, extras), .text = text.to(arithmetic_)};
  for (const Tensor& tokens : extras.image_tokens) cond.text.images.push_back(tokens.to(arithmetic_));
  cond.text.scales = extras.image_scales;
  cond.time = TimeProjections(cond.temb, resnets);
  return cond;
}

UNetEncoder::Features UNetEncoder::operator()(const Tensor& sample, const UNetConditioning& cond,
                                              const Tensor& hint) const {
  Tensor x = sample.to(arithmetic_);
  if (config_.center_input_sample) x = 2 * x - 1;
  x = conv_in_(x);
  if (hint.defined()) x = x + nn::beside(x, hint);
  Features features{.skips = {x}, .middle = {}};
  for (const auto& block : down_blocks_) x = block(x, cond, features.skips);
  features.middle = mid_block_ ? (*mid_block_)(x, cond) : x;
  return features;
}

}  // namespace diffract::models
