#pragma once
#include <vector>

#include "diffract/models/flux/flux_config.h"
#include "diffract/models/flux/flux_modulation.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/linear_group.h"
#include "diffract/nn/norm.h"
#include "diffract/nn/to_device.h"

namespace diffract::models {

using kernels::Rows;

/// The norm before the output: norm(x) * (1 + scale) + shift, which `temb` [B, D] (activated) gives. Source:
/// diffusers AdaLayerNormContinuous.
class AdaLayerNormContinuous {
 public:
  AdaLayerNormContinuous(const WeightScope& w, int64_t width) : linear_(w / "linear", width, 2 * width) {}
  Tensor operator()(const Tensor& x, const Tensor& temb) const;

 private:
  nn::Linear linear_;
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
  bool wants_rounded_rows() const { return qkv_.wants_rounded_rows(); }
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
  bool wants_rounded_rows() const { return proj_.wants_rounded_rows(); }

 private:
  nn::Linear proj_, out_;
};

/// x + gate * y, with which a block ends. On a GPU it is left to the norm that begins the next one, which
/// saves a pass over memory.
struct FluxSum {
  Tensor x, y = {}, gate = {};  // [B, L, D] twice, [B, 1, D]; y undefined: x alone
  static FluxSum of(Tensor x, Tensor y, Tensor gate);
  Tensor value() const;
};

struct FluxStreams {
  FluxSum text;   // [B, T, D]
  FluxSum image;  // [B, I, D]
};

template <typename Map>
FluxSum map_tensors(const FluxSum& sum, Map&& map) {
  const auto mapped = [&](const Tensor& x) { return x.defined() ? map(x) : x; };
  return {.x = mapped(sum.x), .y = mapped(sum.y), .gate = mapped(sum.gate)};
}
template <typename Map>
FluxStreams map_tensors(const FluxStreams& streams, Map&& map) {
  return {.text = map_tensors(streams.text, map), .image = map_tensors(streams.image, map)};
}
/// Between devices and processes the sum is sent, not its parts.
FluxSum to_device(const FluxSum& sum, at::Device device);
inline FluxSum settled(const FluxSum& sum) { return {.x = sum.value()}; }
inline FluxStreams settled(const FluxStreams& streams) {
  return {.text = settled(streams.text), .image = settled(streams.image)};
}
inline FluxStreams to_device(const FluxStreams& streams, at::Device device) {
  return {.text = to_device(streams.text, device), .image = to_device(streams.image, device)};
}

/// Text and image with weights of their own, joined in the attention.
class FluxTransformerBlock {
 public:
  FluxTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& config);
  /// `modulation` [B, 12 D], a FluxModulation of modulated(); `rope` [T + I, d / 2, 2].
  FluxStreams operator()(const FluxStreams& streams, const Tensor& modulation, const Tensor& rope) const;
  static std::vector<FluxModulation::Norm> modulated() { return {{"norm1", 6}, {"norm1_context", 6}}; }

 private:
  FluxQkv joint_qkv(const Rows& text, const Rows& image, const Tensor& rope) const;

  FluxQkvProjection image_qkv_, text_qkv_;
  nn::Linear to_out_, to_add_out_;
  FluxFeedForward ff_, ff_context_;
  nn::AttentionCore core_;
  at::ScalarType arithmetic_;
};

/// Text and image as one sequence, attention and feed-forward side by side.
class FluxSingleTransformerBlock {
 public:
  FluxSingleTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& config);
  /// [B, L, D] -> [B, L - first, D]: of the tokens from `first` on, which look at all. `modulation` [B, 3 D].
  FluxSum operator()(const FluxSum& x, const Tensor& modulation, const Tensor& rope, int64_t first = 0) const;
  static std::vector<FluxModulation::Norm> modulated() { return {{"norm", 3}}; }

 private:
  Rows beside_mlp(const Rows& all, const Tensor& rope, int64_t first) const;

  FluxQkvProjection qkv_;
  nn::Linear proj_mlp_, proj_out_;
  nn::AttentionCore core_;
};

}  // namespace diffract::models
