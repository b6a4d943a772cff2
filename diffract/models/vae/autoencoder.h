#pragma once
#include <ATen/ATen.h>

#include "diffract/core/error.h"

namespace diffract::models {

/// The distribution that an encoder gives for the latents of a picture: a Gaussian a value, or the value
/// itself where there is no logvar. Source: diffusers vae.py, DiagonalGaussianDistribution.
struct LatentDistribution {
  at::Tensor mean;         // [B, latent_channels, h, w]
  at::Tensor logvar = {};  // the same shape, in [-30, 20]

  bool is_drawn_from() const { return logvar.defined(); }
  /// mean + standard deviation * noise.
  at::Tensor sample(const at::Tensor& noise) const {
    return is_drawn_from() ? mean + (0.5 * logvar).exp() * noise : mean;
  }
  const at::Tensor& mode() const { return mean; }
};

/// A model between pixels in [-1, 1] and latents, as a pipeline asks for it.
class Autoencoder {
 public:
  virtual ~Autoencoder() = default;
  /// The latents of `pixels` [B, 3, H, W], H and W multiples of scale_factor(), not scaled by
  /// scaling_factor(). One picture at a time. Throws UsageError for other shapes.
  virtual LatentDistribution encode(const at::Tensor& pixels) const = 0;
  /// Pixels [B, 3, H, W], about [-1, 1], of unscaled `latents` [B, latent_channels(), h, w]. One image at a
  /// time, so that the peak of memory is one image's. Throws MemoryError when that is too much.
  virtual at::Tensor decode(const at::Tensor& latents) const = 0;
  /// What decode() takes of a denoise loop's `latents`, and the way back.
  virtual at::Tensor unscaled(const at::Tensor& latents) const = 0;
  virtual at::Tensor scaled(const at::Tensor& latents) const = 0;

  virtual int64_t latent_channels() const = 0;
  virtual int64_t scale_factor() const = 0;   // pixels a latent, each way
  virtual double scaling_factor() const = 0;  // of the loop's latents
  virtual bool encodes_to_distribution() const = 0;

 protected:
  Autoencoder() = default;
  Autoencoder(const Autoencoder&) = default;
  Autoencoder& operator=(const Autoencoder&) = default;
  Autoencoder(Autoencoder&&) = default;
  Autoencoder& operator=(Autoencoder&&) = default;

  /// Throw UsageError for shapes that encode() and decode() do not take.
  void check_pixels(const at::Tensor& pixels, int64_t in_channels) const {
    const int64_t multiple = scale_factor();
    if (pixels.dim() != 4 || pixels.size(1) != in_channels || pixels.size(2) % multiple != 0 ||
        pixels.size(3) % multiple != 0 || pixels.numel() == 0)
      throw UsageError("vae: pixels have shape {}; expected [batch, {}, height, width], both multiples of {}",
                       c10::str(pixels.sizes()), in_channels, multiple);
  }
  void check_latents(const at::Tensor& latents) const {
    if (latents.dim() != 4 || latents.size(1) != latent_channels() || latents.numel() == 0)
      throw UsageError("vae: latents have shape {}; expected [batch, {}, height, width]",
                       c10::str(latents.sizes()), latent_channels());
  }
};

}  // namespace diffract::models
