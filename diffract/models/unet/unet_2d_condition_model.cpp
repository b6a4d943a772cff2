#include "diffract/models/unet/unet_2d_condition_model.h"

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

// What ControlNets add, one residual a skip and one for the middle. A residual that was averaged over the map
// is one number a channel.
void add(const std::vector<Tensor>& residuals, UNetEncoder::Features& features) {
  if (residuals.empty()) return;
  auto& [skips, middle] = features;
  if (residuals.size() != skips.size() + 1)
    throw UsageError("unet: {} residuals of ControlNets; expected {}, one a skip and one for the middle",
                     residuals.size(), skips.size() + 1);
  for (size_t i = 0; i < skips.size(); ++i) skips[i] = skips[i] + nn::beside(skips[i], residuals[i]);
  middle = middle + nn::beside(middle, residuals.back());
}

}  // namespace

UNet2DConditionModel::UNet2DConditionModel(const UNet2DConditionConfig& c, const WeightScope& w)
    : encoder_("unet", c, w),
      conv_norm_out_(w / "conv_norm_out", c.norm_num_groups, c.block_out_channels.front(), c.norm_eps),
      conv_out_(w / "conv_out", c.block_out_channels.front(), c.out_channels,
                conv_of_same_size(c.conv_out_kernel)),
      arithmetic_(w.arithmetic()) {
  up_blocks_.reserve(c.levels());
  for (size_t i = 0; i < c.levels(); ++i)
    up_blocks_.emplace_back(w / "up_blocks" / static_cast<int64_t>(i), c, c.levels() - 1 - i);
  for (size_t i = 0; i < c.ip_adapters.size(); ++i)
    encoder_hid_proj_.emplace_back(
        w / "encoder_hid_proj" / "image_projection_layers" / static_cast<int64_t>(i), c.ip_adapters[i]);
}

Tensor UNet2DConditionModel::image_tokens(size_t adapter, const Tensor& embeds) const {
  const ImageProjectionConfig& c = config().ip_adapters.at(adapter);
  if (embeds.dim() != (c.reads_hidden_states() ? 3 : 2) || embeds.size(-1) != c.image_embed_dim)
    throw UsageError("unet: IP-Adapter {} takes embeddings of width {}, not of shape {}", adapter,
                     c.image_embed_dim, c10::str(embeds.sizes()));
  return nn::beside(embeds, encoder_hid_proj_[adapter](embeds.to(arithmetic_)))
      .reshape({1, -1, c.cross_attention_dim});
}

Tensor UNet2DConditionModel::operator()(const Tensor& sample, double timestep, const Tensor& text,
                                        const UNetExtras& extras,
                                        const std::vector<Tensor>& residuals) const {
  return (*this)(sample, at::full({sample.size(0)}, timestep, sample.options().dtype(at::kFloat)), text,
                 extras, residuals);
}

Tensor UNet2DConditionModel::operator()(const Tensor& sample, const Tensor& timesteps, const Tensor& text,
                                        const UNetExtras& extras,
                                        const std::vector<Tensor>& residuals) const {
  std::vector<const PlacedResnet*> resnets = encoder_.resnets();
  for (const auto& block : up_blocks_)
    for (const PlacedResnet& resnet : block.resnets()) resnets.push_back(&resnet);
  const UNetConditioning cond = encoder_.conditioning(sample, timesteps, text, extras, resnets);
  auto features = encoder_(sample, cond);
  add(residuals, features);
  Tensor x = std::move(features.middle);
  for (const auto& block : up_blocks_) x = block(x, cond, features.skips);
  x = conv_out_(conv_norm_out_(x, config().act_fn));
  return nn::beside(sample, x).to(sample.scalar_type());
}

}  // namespace diffract::models
