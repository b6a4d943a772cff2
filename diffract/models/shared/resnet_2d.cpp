#include "diffract/models/shared/resnet_2d.h"

#include <algorithm>

#include "diffract/kernels/device_traits.h"

namespace diffract::models {
namespace {

// Feature maps beyond this size (a VAE's, near the pixels) are computed band by band, so that the copies on
// the way to a convolution stay small: half the memory of a 512x512 picture's VAE, and no slower.
constexpr int64_t kBandedElements = int64_t{24} << 20;
constexpr int64_t kBandElements = int64_t{8} << 20;
constexpr int64_t kHalo = 1;  // rows that a 3x3 convolution sees beyond its own

// Half-open range of rows.
struct Rows {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// `rows` of a picture of `height` together with the halo around them.
Rows with_halo(const Rows& rows, int64_t height) {
  return {std::max<int64_t>(rows.begin - kHalo, 0), std::min(rows.end + kHalo, height)};
}

// Calls compute(rows) for bands of `height` rows, of `row_elements` on the way.
template <typename Compute>
void for_bands(int64_t height, int64_t row_elements, const Compute& compute) {
  const int64_t step = std::max<int64_t>(kBandElements / row_elements, 8);
  for (int64_t begin = 0; begin < height; begin += step) compute(Rows{begin, std::min(begin + step, height)});
}

// The same, and joins what it gives, [B, C, rows or a multiple of them, W].
template <typename Compute>
Tensor by_bands(int64_t height, int64_t row_elements, const Compute& compute) {
  Tensor joined;
  for_bands(height, row_elements, [&](const Rows& rows) {
    const Tensor band = compute(rows);
    const int64_t factor = band.size(2) / rows.size();
    if (!joined.defined())
      joined = at::empty({band.size(0), band.size(1), factor * height, band.size(3)}, band.options());
    joined.slice(2, factor * rows.begin, factor * rows.end).copy_(band);
  });
  return joined;
}

// conv(activate(norm(x))) for a 3x3 convolution.
Tensor norm_activate_convolve(const nn::GroupNorm& norm, nn::Activation activation, const nn::Conv2d& conv,
                              const Tensor& x) {
  if (x.numel() < kBandedElements) return conv(norm.activated(x, activation));
  const auto affine = norm.affine(x);
  return by_bands(x.size(2), x.numel() / x.size(2), [&](const Rows& rows) {
    const Rows seen = with_halo(rows, x.size(2));
    const Tensor normed = at::addcmul(affine.shift, x.slice(2, seen.begin, seen.end), affine.scale);
    return conv(nn::activate(activation, Tensor(normed))).narrow(2, rows.begin - seen.begin, rows.size());
  });
}

// x += conv(input) for a 1x1 convolution, whose result and own copies would else be as large as the maps.
void add_convolved(Tensor& x, const nn::Conv2d& conv, const Tensor& input) {
  if (input.numel() < kBandedElements) {
    x.add_(conv(input));
    return;
  }
  for_bands(input.size(2), input.numel() / input.size(2), [&](const Rows& rows) {
    x.slice(2, rows.begin, rows.end).add_(conv(input.slice(2, rows.begin, rows.end)));
  });
}

}  // namespace

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
  if (kernels::traits(conv1_.bias()).fuses_sums)
    between_bias_ = time_emb_proj_ ? time_emb_proj_->bias() + conv1_.bias() : conv1_.bias().unsqueeze(0);
}

Tensor ResnetBlock2D::convolved(const Tensor& input, const Tensor& temb) const {
  Tensor x = norm_activate_convolve(norm1_, activation_, conv1_, input);
  if (time_emb_proj_) x.add_((*time_emb_proj_)(temb).unsqueeze(-1).unsqueeze(-1));
  x = norm_activate_convolve(norm2_, activation_, conv2_, x);
  if (conv_shortcut_)
    add_convolved(x, *conv_shortcut_, input);
  else
    x.add_(input);
  return x;
}

// The same sums; what is added to a map is added where the map is read or written anyway.
Tensor ResnetBlock2D::convolved_with_sums(const Tensor& input, const Tensor& between) const {
  const Tensor x = conv1_.without_bias(norm1_.activated(input, activation_));
  return conv2_(norm2_.activated(x, activation_, between), conv_shortcut_ ? (*conv_shortcut_)(input) : input);
}

std::optional<kernels::LinearLayer> ResnetBlock2D::time_layer() const {
  if (!time_emb_proj_ || !between_bias_.defined()) return {};
  return kernels::LinearLayer{time_emb_proj_->weight().stored(), between_bias_};
}

Tensor ResnetBlock2D::operator()(const Tensor& input, const Tensor& temb, const Tensor& between) const {
  const auto added_between = [&] {
    if (between.defined()) return between;
    if (!time_emb_proj_) return between_bias_;
    return kernels::linear(temb, time_emb_proj_->weight().get(), between_bias_);
  };
  const Tensor x = kernels::traits(input).fuses_sums ? convolved_with_sums(input, added_between())
                                                     : convolved(input, temb);
  return output_scale_factor_ == 1.0 ? x : x.div_(output_scale_factor_);
}

Downsample2D::Downsample2D(const WeightScope& w, int64_t channels, int64_t padding)
    : conv_(w / "conv", channels, channels, {.stride = 2, .padding = padding}), pad_end_(padding == 0) {}

Tensor Downsample2D::operator()(const Tensor& x) const {
  return conv_(pad_end_ ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample2D::Upsample2D(const WeightScope& w, int64_t channels) : conv_(w / "conv", channels, channels) {}

Tensor Upsample2D::operator()(const Tensor& x, at::OptionalIntArrayRef size) const {
  const std::vector<int64_t> twice{2 * x.size(2), 2 * x.size(3)};
  if (size || !kernels::traits(x).bands_large_maps || 4 * x.numel() < kBandedElements)
    return conv_(at::upsample_nearest2d(x, size ? *size : at::IntArrayRef(twice)));
  // Bands of the input's rows; each row gives two.
  return by_bands(x.size(2), 4 * x.numel() / x.size(2), [&](const Rows& rows) {
    const Rows seen = with_halo(rows, x.size(2));
    const Tensor large =
        at::upsample_nearest2d(x.slice(2, seen.begin, seen.end), {2 * seen.size(), 2 * x.size(3)});
    return conv_(large).narrow(2, 2 * (rows.begin - seen.begin), 2 * rows.size());
  });
}

}  // namespace diffract::models
