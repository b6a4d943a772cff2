#pragma once
#include <optional>

#include "diffract/nn/attention_core.h"
#include "diffract/nn/linear_group.h"
#include "diffract/nn/placed.h"

namespace diffract::nn {

/// The names of the four projections, which differ among checkpoints; device maps have these here.
struct AttentionNames {
  const char *q = "to_q", *k = "to_k", *v = "to_v", *out = "to_out.0";
};

struct AttentionWidths {
  int64_t query;    // of the tokens that ask
  int64_t context;  // of the tokens that are looked at
  int64_t inner;    // of all heads together
};

/// Tokens that the same queries look at beside the context, apart from it, and how much that counts.
struct AttendedApart {
  Tensor key, value;  // [B, S, inner]
  Tensor scale;       // []
};

/// Attention with its projections: [B, L, query] looking at [B, S, context] -> [B, L, query].
class Attention {
 public:
  Attention(const WeightScope& w, const AttentionWidths& widths, const AttentionShape& shape,
            Bias qkv_bias = Bias::no, const AttentionNames& names = {});
  /// `residual` [B, L, query] is added where it is defined. What `apart` gives is added before the last
  /// projection.
  Tensor operator()(const Tensor& x, const Tensor& context, const Tensor& residual = {},
                    const std::vector<AttendedApart>& apart = {}) const;
  Tensor operator()(const Tensor& x) const { return (*this)(x, x); }

 private:
  struct Apart {
    Placed<Linear> q, k, v;
  };
  std::vector<Tensor> project(const Tensor& x, const Tensor& context) const;

  AttentionCore core_;
  std::optional<LinearGroup> to_qkv_;  // where the tokens that ask and those looked at have one width
  std::optional<Linear> to_q_;         // elsewhere
  std::optional<LinearGroup> to_kv_;
  std::optional<Apart> apart_;  // instead, where a device map may divide them
  Placed<Linear> to_out_;
};

}  // namespace diffract::nn
