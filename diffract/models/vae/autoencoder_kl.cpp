#include "diffract/models/vae/autoencoder_kl.h"

#include "diffract/tensor/memory_errors.h"

namespace diffract::models {
namespace {

constexpr nn::ConvShape kPointwise{.kernel = 1, .padding = 0};

}  // namespace

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& c, const WeightScope& w)
    : config_(c), encoder_(w / "encoder", c), decoder_(w / "decoder", c), arithmetic_(w.arithmetic()) {
  if (c.use_quant_conv)
    quant_conv_.emplace(w / "quant_conv", 2 * c.latent_channels, 2 * c.latent_channels, kPointwise);
  if (c.use_post_quant_conv)
    post_quant_conv_.emplace(w / "post_quant_conv", c.latent_channels, c.latent_channels, kPointwise);
}

LatentDistribution AutoencoderKL::encode(const Tensor& pixels) const {
  check_pixels(pixels, config_.in_channels);
  return tensor::with_memory_errors([&]() -> LatentDistribution {
    std::vector<Tensor> moments;
    for (const Tensor& one : pixels.to(arithmetic_).split(1)) {
      const Tensor encoded = encoder_(one);
      moments.push_back(nn::beside(pixels, quant_conv_ ? (*quant_conv_)(encoded) : encoded).to(at::kFloat));
    }
    const auto halves = at::cat(moments).chunk(2, 1);
    return {.mean = halves[0], .logvar = halves[1].clamp(-30.0, 20.0)};
  });
}

Tensor AutoencoderKL::decode(const Tensor& latents) const {
  check_latents(latents);
  return tensor::with_memory_errors([&] {
    std::vector<Tensor> images;
    for (const Tensor& one : latents.to(arithmetic_).split(1))
      images.push_back(decoder_(post_quant_conv_ ? (*post_quant_conv_)(one) : one).to(at::kFloat));
    return at::cat(images);
  });
}

// [1, C, 1, 1], a value a channel.
Tensor AutoencoderKL::each_channel(const std::vector<double>& values, const Tensor& latents) const {
  return at::tensor(values, latents.options()).view({1, -1, 1, 1});
}

Tensor AutoencoderKL::unscaled(const Tensor& latents) const {
  if (config_.latents_mean.empty()) return latents / config_.scaling_factor;
  return latents * each_channel(config_.latents_std, latents) / config_.scaling_factor +
         each_channel(config_.latents_mean, latents);
}

Tensor AutoencoderKL::scaled(const Tensor& latents) const {
  if (config_.latents_mean.empty()) return latents * config_.scaling_factor;
  return (latents - each_channel(config_.latents_mean, latents)) * config_.scaling_factor /
         each_channel(config_.latents_std, latents);
}

}  // namespace diffract::models
