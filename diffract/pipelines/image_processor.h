#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "diffract/io/image.h"
#include "diffract/pipelines/request.h"
#include "diffract/tensor/dtype.h"

namespace diffract::pipelines {

/// Pictures that are there.
ArrivingImages arrived(std::vector<io::Image> images);

/// Pictures to the VAE's pixels and back. Source: diffusers image_processor.py.
class VaeImageProcessor {
 public:
  /// `vae_scale_factor`: pixels a latent each way; heights and widths must be multiples of it. `policy`: what
  /// the VAE computes in, for messages.
  explicit VaeImageProcessor(int64_t vae_scale_factor = 8, const tensor::DtypePolicy& policy = {})
      : vae_scale_factor_(vae_scale_factor), policy_(policy) {}

  /// 8-bit RGB pictures of one size to float32 [B, 3, H, W] in [-1, 1]. Throws UsageError for other pictures.
  at::Tensor preprocess(const std::vector<io::Image>& images) const;
  /// The same in [0, 1], as ControlNets take pictures.
  at::Tensor preprocess_control(const std::vector<io::Image>& images) const;
  /// Masks of one size to float32 [B, 1, H, W]: 1 where they are white, else 0. Grey counts as the nearer.
  at::Tensor preprocess_mask(const std::vector<io::Image>& masks) const;
  /// `pixels` [B, 3, H, W], about [-1, 1], to 8-bit pictures: clamped, and rounded half to even as numpy
  /// does.
  std::vector<io::Image> postprocess(const at::Tensor& pixels) const { return begin_postprocess(pixels)(); }
  /// The same, but a GPU is only told to make and to send them.
  ArrivingImages begin_postprocess(const at::Tensor& pixels) const;

 private:
  at::Tensor bytes_of(const std::vector<io::Image>& images, uint32_t channels) const;

  int64_t vae_scale_factor_;
  tensor::DtypePolicy policy_;
};

}  // namespace diffract::pipelines
