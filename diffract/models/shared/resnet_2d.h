#pragma once
#include <optional>

#include "diffract/nn/activation.h"
#include "diffract/nn/conv.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

struct ResnetShape {
  int64_t in_channels;
  int64_t out_channels;
  std::optional<int64_t> temb_channels;  // none in a VAE
  int64_t groups = 32;
  double eps = 1e-5;
  nn::Activation activation = nn::Activation::silu;
  double output_scale_factor = 1.0;  // the sum is divided by it
};

/// Two convolutions with a residual, the time embedding added between them.
/// Source: diffusers resnet.py, ResnetBlock2D with time_embedding_norm "default".
class ResnetBlock2D {
 public:
  ResnetBlock2D(const WeightScope& w, const ResnetShape& shape);
  /// [B, in, H, W] -> [B, out, H, W]; `temb` [B, temb_channels] already activated, undefined in a VAE;
  /// `between` [B, out] what time_layer() gives for it, where somebody has asked already.
  Tensor operator()(const Tensor& x, const Tensor& temb = {}, const Tensor& between = {}) const;
  /// On a GPU: the layer, its weight as stored, that makes of the time embedding what is added between the
  /// convolutions.
  std::optional<kernels::LinearLayer> time_layer() const;

 private:
  Tensor convolved(const Tensor& x, const Tensor& temb) const;
  Tensor convolved_with_sums(const Tensor& x, const Tensor& between) const;

  nn::GroupNorm norm1_, norm2_;
  nn::Conv2d conv1_, conv2_;
  std::optional<nn::Linear> time_emb_proj_;
  std::optional<nn::Conv2d> conv_shortcut_;
  Tensor between_bias_;  // on a GPU: what is added between the convolutions, conv1's bias and time_emb_proj's
  nn::Activation activation_;
  double output_scale_factor_;
};

/// Halves the height and width with a strided convolution. A padding of 0 pads one row and column at the end,
/// as the VAE's encoder does.
class Downsample2D {
 public:
  Downsample2D(const WeightScope& w, int64_t channels, int64_t padding);
  Tensor operator()(const Tensor& x) const;

 private:
  nn::Conv2d conv_;
  bool pad_end_;
};

/// Repeats each pixel to twice the size, or to `size` where the level above had an odd one, and convolves.
class Upsample2D {
 public:
  Upsample2D(const WeightScope& w, int64_t channels);
  Tensor operator()(const Tensor& x, at::OptionalIntArrayRef size = {}) const;

 private:
  nn::Conv2d conv_;
};

}  // namespace diffract::models
