#pragma once
#include <optional>
#include <vector>

#include "diffract/models/unet/attended.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/block_list.h"
#include "diffract/nn/conv.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using weights::WeightScope;

// B batch, L image tokens (H * W), C channels, T text tokens
struct Transformer2DShape {
  int64_t channels;
  int64_t heads;
  int64_t layers = 1;
  int64_t cross_attention_dim = 768;  // width of the text's tokens
  int64_t groups = 32;
  bool use_linear_projection = false;
  bool only_cross_attention = false;  // attn1 looks at the text too
  bool upcast_attention = false;
  int64_t ip_adapters = 0;
};

/// x * gelu(gate), both from one linear layer, and a linear layer back. Source: Shazeer 2020, GEGLU.
class GegluFeedForward {
 public:
  GegluFeedForward(const WeightScope& w, int64_t width);
  Tensor operator()(const Tensor& x, const Tensor& residual) const;  // [B, L, C], added at the end

 private:
  nn::Linear proj_, out_;
};

/// What an IP-Adapter adds to an attention to the text: keys and values of its own. Source: diffusers
/// attention_processor.py, IPAdapterAttnProcessor2_0, without masks.
class IPAdapterProjections {
 public:
  IPAdapterProjections(const WeightScope& processor, int64_t adapter, int64_t cross, int64_t channels);
  nn::AttendedApart operator()(const Tensor& tokens, const Tensor& scale) const;  // [B, S, cross]

 private:
  nn::Linear to_k_ip_, to_v_ip_;
};

/// Attention among the image's tokens, attention to the text, feed-forward; each behind a norm and with a
/// residual. Source: diffusers attention.py, BasicTransformerBlock.
class BasicTransformerBlock {
 public:
  BasicTransformerBlock(const WeightScope& w, const Transformer2DShape& shape);
  Tensor operator()(const Tensor& x, const Attended& attended) const;  // [B, L, C] -> [B, L, C]

 private:
  nn::LayerNorm norm1_, norm2_, norm3_;
  nn::Attention attn1_, attn2_;
  std::vector<IPAdapterProjections> processor_;  // of attn2_, one an IP-Adapter
  GegluFeedForward ff_;
  bool only_cross_attention_;
};

/// Transformer blocks over the pixels of a feature map, with a residual around them.
/// Source: diffusers transformer_2d.py, continuous input.
class Transformer2DModel {
 public:
  Transformer2DModel(const WeightScope& w, const Transformer2DShape& shape);
  Tensor operator()(const Tensor& x, const Attended& attended) const;  // [B, C, H, W] -> [B, C, H, W]

 private:
  nn::Placed<nn::GroupNorm> norm_;
  // Exactly one pair is there: 1x1 convolutions, or linear layers where use_linear_projection is set.
  std::optional<nn::Placed<nn::Conv2d>> conv_in_, conv_out_;
  std::optional<nn::Placed<nn::Linear>> linear_in_, linear_out_;
  nn::BlockList<BasicTransformerBlock> transformer_blocks_;
};

}  // namespace diffract::models
