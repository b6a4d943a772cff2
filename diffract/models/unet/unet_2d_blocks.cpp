#include "diffract/models/unet/unet_2d_blocks.h"

#include "diffract/kernels/device_traits.h"
namespace diffract::models {
namespace {

ResnetShape resnet_shape(const UNet2DConditionConfig& c, int64_t in, int64_t out) {
  return {.in_channels = in,
          .out_channels = out,
          .temb_channels = c.time_embed_dim(),
          .groups = c.norm_num_groups,
          .eps = c.norm_eps,
          .activation = c.act_fn};
}

Transformer2DShape transformer_shape(const UNet2DConditionConfig& c, size_t level, int64_t layers) {
  return {.channels = c.block_out_channels[level],
          .heads = c.num_attention_heads[level],
          .layers = layers,
          .cross_attention_dim = c.cross_attention_dim[level],
          .groups = c.norm_num_groups,
          .use_linear_projection = c.use_linear_projection,
          .only_cross_attention = c.only_cross_attention[level],
          .upcast_attention = c.upcast_attention,
          .ip_adapters = static_cast<int64_t>(c.ip_adapters.size())};
}

// diffusers builds this middle block with plain self-attention whatever only_cross_attention says.
Transformer2DShape mid_transformer_shape(const UNet2DConditionConfig& c) {
  auto shape = transformer_shape(c, c.levels() - 1, c.transformer_layers_per_block.back().front());
  shape.only_cross_attention = false;
  return shape;
}

ResnetShape mid_resnet_shape(const UNet2DConditionConfig& c) {
  auto shape = resnet_shape(c, c.block_out_channels.back(), c.block_out_channels.back());
  shape.output_scale_factor = c.mid_block_scale_factor;
  return shape;
}

}  // namespace

TimeProjections::TimeProjections(const Tensor& temb, const std::vector<const PlacedResnet*>& resnets) {
  if (!kernels::traits(temb).prefers_one_product) return;
  std::vector<const PlacedResnet*> asked;
  std::vector<kernels::LinearLayer> layers;
  for (const PlacedResnet* resnet : resnets) {
    const auto* here = resnet->device() == temb.device() ? resnet->resident() : nullptr;
    auto layer = here ? here->time_layer() : std::nullopt;
    if (!layer || layer->weight.scalar_type() != temb.scalar_type()) continue;
    asked.push_back(resnet);
    layers.push_back(*std::move(layer));
  }
  const auto projected = kernels::linear_each(temb, layers);
  for (size_t i = 0; i < asked.size(); ++i) projected_.emplace(asked[i], projected[i]);
}

Tensor TimeProjections::of(const PlacedResnet& resnet) const {
  const auto found = projected_.find(&resnet);
  return found == projected_.end() ? Tensor() : found->second;
}

UNetDownBlock::UNetDownBlock(const WeightScope& w, const UNet2DConditionConfig& c, size_t level) {
  const int64_t out = c.block_out_channels[level];
  const int64_t in = level == 0 ? out : c.block_out_channels[level - 1];
  const bool attends = c.down_block_types[level] == "CrossAttnDownBlock2D";
  for (int64_t i = 0; i < c.layers_per_block[level]; ++i) {
    resnets_.emplace_back(w / "resnets" / i, resnet_shape(c, i == 0 ? in : out, out));
    if (attends)
      attentions_.emplace_back(
          w / "attentions" / i,
          transformer_shape(c, level, c.transformer_layers_per_block[level][static_cast<size_t>(i)]));
  }
  if (level + 1 < c.levels()) downsampler_.emplace(w / "downsamplers.0", out, c.downsample_padding);
}

Tensor UNetDownBlock::operator()(Tensor x, const UNetConditioning& cond, std::vector<Tensor>& skips) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i](x, cond.temb, cond.time.of(resnets_[i]));
    if (!attentions_.empty()) x = attentions_[i](x, cond.text);
    skips.push_back(x);
  }
  if (downsampler_) skips.push_back(x = (*downsampler_)(x));
  return x;
}

UNetMidBlock::UNetMidBlock(const WeightScope& w, const UNet2DConditionConfig& c)
    : resnet_in_(w / "resnets.0", mid_resnet_shape(c)) {
  if (!c.mid_block_attends) return;
  attention_.emplace(w / "attentions.0", mid_transformer_shape(c));
  resnet_out_.emplace(w / "resnets.1", mid_resnet_shape(c));
}

Tensor UNetMidBlock::operator()(Tensor x, const UNetConditioning& cond) const {
  x = resnet_in_(x, cond.temb, cond.time.of(resnet_in_));
  return attention_ ? (*resnet_out_)((*attention_)(x, cond.text), cond.temb, cond.time.of(*resnet_out_)) : x;
}

std::vector<const PlacedResnet*> UNetMidBlock::resnets() const {
  if (!resnet_out_) return {&resnet_in_};
  return {&resnet_in_, &*resnet_out_};
}

UNetUpBlock::UNetUpBlock(const WeightScope& w, const UNet2DConditionConfig& c, size_t level) {
  const int64_t out = c.block_out_channels[level];
  const int64_t from_below = level + 1 < c.levels() ? c.block_out_channels[level + 1] : out;
  // The last skip of a level is what the level above it handed down.
  const int64_t last_skip = level == 0 ? out : c.block_out_channels[level - 1];
  const bool attends = c.up_block_types[c.levels() - 1 - level] == "CrossAttnUpBlock2D";
  const int64_t layers = c.layers_per_block[level] + 1;
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t in = (i == 0 ? from_below : out) + (i + 1 == layers ? last_skip : out);
    resnets_.emplace_back(w / "resnets" / i, resnet_shape(c, in, out));
    if (attends)
      attentions_.emplace_back(
          w / "attentions" / i,
          transformer_shape(c, level, c.transformer_layers_on_the_way_up[level][static_cast<size_t>(i)]));
  }
  if (level > 0) upsampler_.emplace(w / "upsamplers.0", out);
}

Tensor UNetUpBlock::operator()(Tensor x, const UNetConditioning& cond, std::vector<Tensor>& skips) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i](at::cat({x, nn::beside(x, skips.back())}, 1), cond.temb, cond.time.of(resnets_[i]));
    skips.pop_back();
    if (!attentions_.empty()) x = attentions_[i](x, cond.text);
  }
  return upsampler_ ? (*upsampler_)(x, skips.back().sizes().slice(2)) : x;
}

}  // namespace diffract::models
