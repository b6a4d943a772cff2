#include "diffract/models/controlnet/controlnet_model.h"

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

// Of each skip, from the finest.
std::vector<int64_t> skip_channels(const UNet2DConditionConfig& c) {
  std::vector<int64_t> channels = {c.block_out_channels.front()};
  for (size_t level = 0; level < c.levels(); ++level) {
    const bool halves = level + 1 < c.levels();
    const auto count = static_cast<size_t>(c.layers_per_block[level]) + (halves ? 1 : 0);
    channels.insert(channels.end(), count, c.block_out_channels[level]);
  }
  return channels;
}

}  // namespace

ControlNetConditioningEmbedding::ControlNetConditioningEmbedding(const WeightScope& w,
                                                                 const ControlNetConfig& config)
    : conv_in_(w / "conv_in", config.conditioning_channels,
               config.conditioning_embedding_out_channels.front()),
      conv_out_(w / "conv_out", config.conditioning_embedding_out_channels.back(),
                config.encoder.block_out_channels.front()) {
  const auto& channels = config.conditioning_embedding_out_channels;
  for (size_t i = 0; i + 1 < channels.size(); ++i) {
    const auto first = static_cast<int64_t>(2 * i);
    blocks_.emplace_back(w / "blocks" / first, channels[i], channels[i]);
    blocks_.emplace_back(w / "blocks" / (first + 1), channels[i], channels[i + 1],
                         nn::ConvShape{.stride = 2});
  }
}

Tensor ControlNetConditioningEmbedding::operator()(Tensor x) const {
  const auto activated = [](const Tensor& map) { return nn::activate(nn::Activation::silu, map); };
  x = activated(conv_in_(x));
  for (const auto& block : blocks_) x = activated(block(x));
  return conv_out_(x);
}

Tensor ControlNetBlock::operator()(const Tensor& x, const Tensor& scale) const {
  const Tensor residual = conv_(x);
  const Tensor scaled = residual * scale.to(residual.scalar_type());
  return averages_ ? scaled.mean({2, 3}, /*keepdim=*/true) : scaled;
}

ControlNetModel::ControlNetModel(const ControlNetConfig& c, const WeightScope& w)
    : config_(c),
      encoder_("controlnet", c.encoder, w),
      controlnet_cond_embedding_(w / "controlnet_cond_embedding", c),
      controlnet_mid_block_(w / "controlnet_mid_block", c.encoder.block_out_channels.back(),
                            c.global_pool_conditions),
      arithmetic_(w.arithmetic()) {
  const auto channels = skip_channels(c.encoder);
  for (size_t i = 0; i < channels.size(); ++i)
    controlnet_down_blocks_.emplace_back(w / "controlnet_down_blocks" / static_cast<int64_t>(i), channels[i],
                                         c.global_pool_conditions);
}

Tensor ControlNetModel::embedded(const Tensor& pictures) const {
  if (pictures.dim() != 4 || pictures.size(1) != config_.conditioning_channels)
    throw UsageError("controlnet: control pictures have shape {}; expected [pictures, {}, height, width]",
                     c10::str(pictures.sizes()), config_.conditioning_channels);
  Tensor x = pictures.to(arithmetic_);
  const auto channel = [&](int64_t i) { return x.narrow(1, i, 1); };  // flip() knows no tensors without data
  if (config_.takes_bgr) x = at::cat({channel(2), channel(1), channel(0)}, 1);
  return nn::beside(pictures, controlnet_cond_embedding_(x));
}

Tensor ControlNetModel::scales(double scale, bool guess_mode) const {
  const auto count = static_cast<int64_t>(config_.skips() + 1);
  if (guess_mode && !config_.global_pool_conditions) return at::logspace(-1, 0, count) * scale;
  return at::full({count}, scale);
}

std::vector<Tensor> ControlNetModel::operator()(const Tensor& sample, const Tensor& timesteps,
                                                const Tensor& text, const Inputs& inputs) const {
  const UNetConditioning cond =
      encoder_.conditioning(sample, timesteps, text, {.added = inputs.added}, encoder_.resnets());
  const auto [skips, middle] = encoder_(sample, cond, inputs.hint);
  std::vector<Tensor> residuals;
  residuals.reserve(skips.size() + 1);
  const auto scale = [&] { return inputs.scales.select(0, static_cast<int64_t>(residuals.size())); };
  for (size_t i = 0; i < skips.size(); ++i)
    residuals.push_back(controlnet_down_blocks_[i](skips[i], scale()));
  residuals.push_back(controlnet_mid_block_(middle, scale()));
  return residuals;
}

}  // namespace diffract::models
