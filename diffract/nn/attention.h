#pragma once
#include <optional>

#include "diffract/nn/linear_group.h"
#include "diffract/nn/placed.h"

namespace diffract::nn {

struct AttentionShape {
  int64_t heads;
  bool causal = false;               // a position sees itself and those before it
  bool upcast = false;               // scores in float32 when the arithmetic is narrower
  std::optional<double> scale = {};  // of the scores; unset: 1 / sqrt(width of a head)
};

/// softmax(scale Q K^T + bias) V for `query` [B, L, heads * d], `key` and `value` [B, S, heads * d]; gives
/// [B, L, heads * d], written to `out` where that is defined. `bias` [1 or B, heads, L, S] or undefined. The
/// one place where attention is computed.
Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionShape& shape,
              const Tensor& bias = {}, const Tensor& out = {});

/// Says, while a layer is built, that it will attend with heads of `inner` in all (kernels/attention.h).
void expect_attention(const WeightScope& w, const AttentionShape& shape, int64_t inner);

/// The names of the four projections, which differ among checkpoints; device maps have these here.
struct AttentionNames {
  const char *q = "to_q", *k = "to_k", *v = "to_v", *out = "to_out.0";
};

struct AttentionWidths {
  int64_t query;    // of the tokens that ask
  int64_t context;  // of the tokens that are looked at
  int64_t inner;    // of all heads together
};

/// Attention with its projections: [B, L, query] looking at [B, S, context] -> [B, L, query].
class Attention {
 public:
  Attention(const WeightScope& w, const AttentionWidths& widths, const AttentionShape& shape,
            Bias qkv_bias = Bias::no, const AttentionNames& names = {});
  /// `residual` [B, L, query] is added where it is defined.
  Tensor operator()(const Tensor& x, const Tensor& context, const Tensor& residual = {}) const;
  Tensor operator()(const Tensor& x) const { return (*this)(x, x); }

 private:
  struct Apart {
    Placed<Linear> q, k, v;
  };
  std::vector<Tensor> project(const Tensor& x, const Tensor& context) const;

  std::optional<LinearGroup> to_qkv_;  // where the tokens that ask and those looked at have one width
  std::optional<Linear> to_q_;         // elsewhere
  std::optional<LinearGroup> to_kv_;
  std::optional<Apart> apart_;  // instead, where a device map may divide them
  Placed<Linear> to_out_;
  AttentionShape shape_;
};

}  // namespace diffract::nn
