#pragma once
#include "diffract/models/vae/autoencoder.h"
#include "diffract/models/vae/vae.h"

namespace diffract::models {

/// Pixels in [-1, 1] to latents and back. Source: diffusers autoencoder_kl.py.
class AutoencoderKL final : public Autoencoder {
 public:
  static constexpr const char* kClassName = "AutoencoderKL";
  using Config = AutoencoderKLConfig;

  AutoencoderKL(const AutoencoderKLConfig& config, const WeightScope& weights);

  /// Latent distribution of `pixels` [B, in_channels, H, W], H and W multiples of config().scale_factor().
  /// Not scaled by scaling_factor, on the pixels' device. One picture at a time, as decode(). Throws
  /// UsageError for other shapes.
  LatentDistribution encode(const Tensor& pixels) const override;
  /// Pixels [B, out_channels, H, W], about [-1, 1], of `latents` [B, latent_channels, h, w] that were divided
  /// by scaling_factor. One image at a time, so that the peak of memory is one image's. Throws MemoryError
  /// when that is too much.
  Tensor decode(const Tensor& latents) const override;
  /// What decode() takes of a loop's `latents` [B, latent_channels, h, w]: without scaling_factor, and with
  /// latents_mean and latents_std where the config has them. Source: pipeline_stable_diffusion_xl.py.
  Tensor unscaled(const Tensor& latents) const override;
  /// The way back: what encode() gave as a loop's latents. Source: pipeline_stable_diffusion_xl_img2img.py.
  Tensor scaled(const Tensor& latents) const override;

  int64_t latent_channels() const override { return config_.latent_channels; }
  int64_t scale_factor() const override { return config_.scale_factor(); }
  double scaling_factor() const override { return config_.scaling_factor; }
  bool encodes_to_distribution() const override { return true; }

  const AutoencoderKLConfig& config() const { return config_; }

 private:
  Tensor each_channel(const std::vector<double>& values, const Tensor& latents) const;

  AutoencoderKLConfig config_;
  VaeEncoder encoder_;
  VaeDecoder decoder_;
  std::optional<nn::Placed<nn::Conv2d>> quant_conv_, post_quant_conv_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
