#pragma once
#include <vector>

#include "diffract/models/flux_config.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/linear_group.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using at::Tensor;
using kernels::Rows;
using weights::WeightScope;

/// A norm whose scales, shifts and gates the conditioning gives. Source: Peebles and Xie 2023, adaLN-Zero;
/// diffusers AdaLayerNormZero (six vectors), AdaLayerNormZeroSingle (three) and AdaLayerNormContinuous (two).
class AdaLayerNorm {
 public:
  AdaLayerNorm(const WeightScope& w, int64_t width, int64_t vectors);
  /// The vectors [B, 1, width] that `temb` [B, width] (activated) gives, in the checkpoint's order.
  std::vector<Tensor> modulation(const Tensor& temb) const;
  /// norm(x) * (1 + scale) + shift.
  Tensor operator()(const Tensor& x, const Tensor& shift, const Tensor& scale) const;
  /// The same for layers that multiply in float8, if `to_float8`.
  Rows rows(const Tensor& x, const Tensor& shift, const Tensor& scale, bool to_float8) const;

 private:
  nn::Linear linear_;
  nn::LayerNorm norm_;
  int64_t vectors_;
};

/// The norm before the output: its scale and shift are what `temb` gives.
class AdaLayerNormContinuous {
 public:
  AdaLayerNormContinuous(const WeightScope& w, int64_t width) : norm_(w, width, 2) {}
  Tensor operator()(const Tensor& x, const Tensor& temb) const {
    const auto out = norm_.modulation(temb);  // scale, then shift: the other way round than in the blocks
    return norm_(x, /*shift=*/out[1], /*scale=*/out[0]);
  }

 private:
  AdaLayerNorm norm_;
};

/// Queries, keys and values [B, L, heads, d], queries and keys normalised a head and turned by their
/// position.
struct FluxQkv {
  Tensor query, key, value;
};

/// The three projections of a stream and the norms of its queries and keys.
class FluxQkvProjection {
 public:
  struct Names {
    const char *q, *k, *v, *norm_q, *norm_k;
  };
  FluxQkvProjection(const WeightScope& w, const FluxTransformer2DConfig& config, const Names& names);
  /// Of `x` [B, L, D] at the positions of `rope` [L, d / 2, 2]. On a GPU they are parts of one tensor [B, L,
  /// 3 D], `out` where it is defined.
  FluxQkv operator()(const Rows& x, const Tensor& rope, const Tensor& out = {}) const;
  bool is_float8() const { return qkv_.is_float8(); }
  /// The three parts of a tensor [B, L, 3 D] as [B, L, heads, d].
  FluxQkv parts(const Tensor& qkv) const;

 private:
  nn::LinearGroup qkv_;
  nn::RMSNorm norm_q_, norm_k_;
  int64_t heads_;
};

/// Two linear layers with a tanh gelu between. Source: diffusers FeedForward, "gelu-approximate".
class FluxFeedForward {
 public:
  FluxFeedForward(const WeightScope& w, int64_t width);
  Tensor operator()(const Rows& x) const;
  bool is_float8() const { return proj_.is_float8(); }

 private:
  nn::Linear proj_, out_;
};

struct FluxStreams {
  Tensor text;   // [B, T, D]
  Tensor image;  // [B, I, D]
};

inline FluxStreams to_device(const FluxStreams& streams, at::Device device) {
  return {.text = nn::to_device(streams.text, device), .image = nn::to_device(streams.image, device)};
}

/// Text and image with weights of their own, joined in the attention.
class FluxTransformerBlock {
 public:
  FluxTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& config);
  /// `temb` [B, D], activated; `rope` [T + I, d / 2, 2].
  FluxStreams operator()(const FluxStreams& streams, const Tensor& temb, const Tensor& rope) const;

 private:
  FluxQkv joint_qkv(const Rows& text, const Rows& image, const Tensor& rope) const;

  AdaLayerNorm norm1_, norm1_context_;
  FluxQkvProjection image_qkv_, text_qkv_;
  nn::Linear to_out_, to_add_out_;
  FluxFeedForward ff_, ff_context_;
  nn::AttentionShape shape_;
  at::ScalarType arithmetic_;
};

/// Text and image as one sequence, attention and feed-forward side by side.
class FluxSingleTransformerBlock {
 public:
  FluxSingleTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& config);
  /// [B, T + I, D] -> the same.
  Tensor operator()(const Tensor& x, const Tensor& temb, const Tensor& rope) const;

 private:
  Rows beside_mlp(const Tensor& attended, const Rows& normed) const;

  AdaLayerNorm norm_;
  FluxQkvProjection qkv_;
  nn::Linear proj_mlp_, proj_out_;
  nn::AttentionShape shape_;
};

}  // namespace diffract::models
