#include "diffract/models/unet/unet_2d_condition_model.h"

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

nn::ConvShape same_size(int64_t kernel) { return {.kernel = kernel, .padding = (kernel - 1) / 2}; }

}  // namespace

UNet2DConditionModel::UNet2DConditionModel(const UNet2DConditionConfig& c, const WeightScope& w)
    : config_(c),
      conv_in_(w / "conv_in", c.in_channels, c.block_out_channels.front(), same_size(c.conv_in_kernel)),
      time_embedding_(w / "time_embedding", c.block_out_channels.front(), c.time_embed_dim(), c.act_fn),
      conv_norm_out_(w / "conv_norm_out", c.norm_num_groups, c.block_out_channels.front(), c.norm_eps),
      conv_out_(w / "conv_out", c.block_out_channels.front(), c.out_channels, same_size(c.conv_out_kernel)),
      arithmetic_(w.arithmetic()) {
  if (c.text_time) add_embedding_.emplace(w / "add_embedding", *c.text_time, c.time_embed_dim());
  if (c.time_cond_proj_dim > 0)
    cond_proj_.emplace(w / "time_embedding" / "cond_proj", c.time_cond_proj_dim, c.block_out_channels.front(),
                       nn::Bias::no);
  if (c.has_mid_block) mid_block_.emplace(w / "mid_block", c);
  down_blocks_.reserve(c.levels());
  up_blocks_.reserve(c.levels());
  for (size_t level = 0; level < c.levels(); ++level)
    down_blocks_.emplace_back(w / "down_blocks" / static_cast<int64_t>(level), c, level);
  for (size_t i = 0; i < c.levels(); ++i)
    up_blocks_.emplace_back(w / "up_blocks" / static_cast<int64_t>(i), c, c.levels() - 1 - i);
}

void UNet2DConditionModel::check(const Tensor& sample, const Tensor& text, const UNetExtras& extras) const {
  if (sample.dim() != 4 || sample.size(1) != config_.in_channels)
    throw UsageError("unet: sample has shape {}; expected [batch, {}, height, width]",
                     c10::str(sample.sizes()), config_.in_channels);
  if (text.dim() != 3 || text.size(0) != sample.size(0) ||
      text.size(2) != config_.cross_attention_dim.front())
    throw UsageError("unet: text embeddings have shape {}; expected [{}, tokens, {}]", c10::str(text.sizes()),
                     sample.size(0), config_.cross_attention_dim.front());
  if (extras.added.defined() != add_embedding_.has_value())
    throw UsageError("unet: {} pooled text and sizes (\"addition_embed_type\")",
                     extras.added.defined() ? "takes no" : "needs");
  const Tensor& guidance = extras.guidance;
  if (guidance.defined() != cond_proj_.has_value())
    throw UsageError("unet: {} a guidance (\"time_cond_proj_dim\")",
                     guidance.defined() ? "takes no" : "needs");
  if (guidance.defined() && (guidance.dim() != 1 || guidance.size(0) != sample.size(0)))
    throw UsageError("unet: guidance has shape {}; expected [{}]", c10::str(guidance.sizes()),
                     sample.size(0));
}

Tensor UNet2DConditionModel::added_embedding(const Tensor& text_embeds, const Tensor& time_ids) const {
  if (!add_embedding_) throw UsageError("unet: takes no pooled text and sizes (\"addition_embed_type\")");
  return (*add_embedding_)(text_embeds, time_ids);
}

Tensor UNet2DConditionModel::time_embedding(const Tensor& timesteps, const UNetExtras& extras) const {
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

std::vector<const PlacedResnet*> UNet2DConditionModel::resnets() const {
  std::vector<const PlacedResnet*> all;
  const auto add = [&](const auto& block) {
    for (const PlacedResnet& resnet : block.resnets()) all.push_back(&resnet);
  };
  for (const auto& block : down_blocks_) add(block);
  if (mid_block_)
    for (const PlacedResnet* resnet : mid_block_->resnets()) all.push_back(resnet);
  for (const auto& block : up_blocks_) add(block);
  return all;
}

Tensor UNet2DConditionModel::operator()(const Tensor& sample, double timestep, const Tensor& text,
                                        const UNetExtras& extras) const {
  return (*this)(sample, at::full({sample.size(0)}, timestep, sample.options().dtype(at::kFloat)), text,
                 extras);
}

Tensor UNet2DConditionModel::operator()(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                                        const UNetExtras& extras) const {
  check(sample, text, extras);
  UNetConditioning cond{.temb = time_embedding(timesteps, extras), .text = text.to(arithmetic_)};
  cond.time = TimeProjections(cond.temb, resnets());
  Tensor x = sample.to(arithmetic_);
  if (config_.center_input_sample) x = 2 * x - 1;
  x = conv_in_(x);
  std::vector<Tensor> skips{x};
  for (const auto& block : down_blocks_) x = block(x, cond, skips);
  if (mid_block_) x = (*mid_block_)(x, cond);
  for (const auto& block : up_blocks_) x = block(x, cond, skips);
  x = conv_out_(conv_norm_out_(x, config_.act_fn));
  return nn::beside(sample, x).to(sample.scalar_type());
}

}  // namespace diffract::models
