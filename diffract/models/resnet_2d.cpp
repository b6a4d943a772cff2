#include "diffract/models/resnet_2d.h"

namespace diffract::models {

ResnetBlock2D::ResnetBlock2D(const WeightScope& w, const ResnetShape& s)
    : norm1_(w / "norm1", s.groups, s.in_channels, s.eps),
      norm2_(w / "norm2", s.groups, s.out_channels, s.eps),
      conv1_(w / "conv1", s.in_channels, s.out_channels),
      conv2_(w / "conv2", s.out_channels, s.out_channels),
      activation_(s.activation),
      output_scale_factor_(s.output_scale_factor) {
  if (s.temb_channels) time_emb_proj_.emplace(w / "time_emb_proj", *s.temb_channels, s.out_channels);
  if (s.in_channels != s.out_channels)
    conv_shortcut_.emplace(w / "conv_shortcut", s.in_channels, s.out_channels,
                           nn::ConvShape{.kernel = 1, .padding = 0});
}

Tensor ResnetBlock2D::operator()(const Tensor& input, const Tensor& temb) const {
  Tensor x = conv1_(nn::activate(activation_, norm1_(input)));
  if (time_emb_proj_) x = x + (*time_emb_proj_)(temb).unsqueeze(-1).unsqueeze(-1);
  x = conv2_(nn::activate(activation_, norm2_(x)));
  const Tensor sum = (conv_shortcut_ ? (*conv_shortcut_)(input) : input) + x;
  return output_scale_factor_ == 1.0 ? sum : sum / output_scale_factor_;
}

Downsample2D::Downsample2D(const WeightScope& w, int64_t channels, int64_t padding)
    : conv_(w / "conv", channels, channels, {.stride = 2, .padding = padding}), pad_end_(padding == 0) {}

Tensor Downsample2D::operator()(const Tensor& x) const {
  return conv_(pad_end_ ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample2D::Upsample2D(const WeightScope& w, int64_t channels) : conv_(w / "conv", channels, channels) {}

Tensor Upsample2D::operator()(const Tensor& x, at::OptionalIntArrayRef size) const {
  const std::vector<int64_t> twice{2 * x.size(2), 2 * x.size(3)};
  return conv_(at::upsample_nearest2d(x, size ? *size : at::IntArrayRef(twice)));
}

}  // namespace diffract::models
