#include "diffract/models/unet/transformer_2d.h"

#include "diffract/kernels/gated_gelu.h"

namespace diffract::models {
namespace {

constexpr int64_t kFeedForwardFactor = 4;

nn::AttentionShape attention_shape(const Transformer2DShape& s) {
  return {.heads = s.heads, .upcast = s.upcast_attention};
}

nn::AttentionWidths attention_widths(const Transformer2DShape& s, int64_t context) {
  return {.query = s.channels, .context = context, .inner = s.channels};
}

}  // namespace

GegluFeedForward::GegluFeedForward(const WeightScope& w, int64_t width)
    : proj_(w / "net.0.proj", width, 2 * kFeedForwardFactor * width),
      out_(w / "net.2", kFeedForwardFactor * width, width) {}

Tensor GegluFeedForward::operator()(const Tensor& x, const Tensor& residual) const {
  return out_(kernels::gated_gelu(proj_(x), kernels::GatedGelu::geglu), {.residual = residual});
}

IPAdapterProjections::IPAdapterProjections(const WeightScope& processor, int64_t adapter, int64_t cross,
                                           int64_t channels)
    : to_k_ip_(processor / "to_k_ip" / adapter, cross, channels, nn::Bias::no),
      to_v_ip_(processor / "to_v_ip" / adapter, cross, channels, nn::Bias::no) {}

nn::AttendedApart IPAdapterProjections::operator()(const Tensor& tokens, const Tensor& scale) const {
  return {.key = to_k_ip_(tokens), .value = to_v_ip_(tokens), .scale = scale};
}

BasicTransformerBlock::BasicTransformerBlock(const WeightScope& w, const Transformer2DShape& s)
    : norm1_(w / "norm1", s.channels),
      norm2_(w / "norm2", s.channels),
      norm3_(w / "norm3", s.channels),
      attn1_(w / "attn1", attention_widths(s, s.only_cross_attention ? s.cross_attention_dim : s.channels),
             attention_shape(s)),
      attn2_(w / "attn2", attention_widths(s, s.cross_attention_dim), attention_shape(s)),
      ff_(w / "ff", s.channels),
      only_cross_attention_(s.only_cross_attention) {
  for (int64_t i = 0; i < s.ip_adapters; ++i)
    processor_.emplace_back(w / "attn2" / "processor", i, s.cross_attention_dim, s.channels);
}

Tensor BasicTransformerBlock::operator()(const Tensor& input, const Attended& attended) const {
  const Tensor normed = norm1_(input);
  Tensor x = attn1_(normed, only_cross_attention_ ? attended.text : normed, input);
  std::vector<nn::AttendedApart> images;
  for (size_t i = 0; i < processor_.size(); ++i)
    images.push_back(processor_[i](attended.images[i], attended.scales.select(0, static_cast<int64_t>(i))));
  x = attn2_(norm2_(x), attended.text, x, images);
  return ff_(norm3_(x), x);
}

Transformer2DModel::Transformer2DModel(const WeightScope& w, const Transformer2DShape& s)
    : norm_(w / "norm", s.groups, s.channels, 1e-6),
      transformer_blocks_(w / "transformer_blocks", s.layers, s) {
  if (s.use_linear_projection) {
    linear_in_.emplace(w / "proj_in", s.channels, s.channels);
    linear_out_.emplace(w / "proj_out", s.channels, s.channels);
  } else {
    const nn::ConvShape pointwise{.kernel = 1, .padding = 0};
    conv_in_.emplace(w / "proj_in", s.channels, s.channels, pointwise);
    conv_out_.emplace(w / "proj_out", s.channels, s.channels, pointwise);
  }
}

Tensor Transformer2DModel::operator()(const Tensor& input, const Attended& attended) const {
  const int64_t batch = input.size(0), channels = input.size(1), height = input.size(2),
                width = input.size(3);
  const Tensor normed = norm_(input);
  Tensor x = (conv_in_ ? (*conv_in_)(normed) : normed).flatten(2).transpose(1, 2);  // [B, L, C]
  if (linear_in_) x = (*linear_in_)(x);
  for (const auto& block : transformer_blocks_) x = block(x, attended);
  if (linear_out_) x = (*linear_out_)(x);
  x = x.transpose(1, 2).reshape({batch, channels, height, width});
  if (conv_out_) return (*conv_out_)(x, input);
  return nn::beside(x, input) + x;
}

}  // namespace diffract::models
