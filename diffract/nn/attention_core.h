#pragma once
#include <optional>

#include "diffract/weights/weight_scope.h"

namespace diffract::nn {

using at::Tensor;
using weights::WeightScope;

struct AttentionShape {
  int64_t heads;
  bool causal = false;               // a position sees itself and those before it
  bool biased = false;               // the scores get a bias of their own
  bool upcast = false;               // scores in float32 when the arithmetic is narrower
  std::optional<double> scale = {};  // of the scores; unset: 1 / sqrt(width of a head)
};

/// The one place where attention is computed, without projections; built from the scope of the layer that
/// has it, while that layer is built. An exchange between ranks that share one image belongs here, and
/// nowhere else.
class AttentionCore {
 public:
  /// `inner`: width of all heads together.
  AttentionCore(const WeightScope& w, const AttentionShape& shape, int64_t inner);

  struct Extra {
    Tensor bias;  // of the scores, [1 or B, heads, L, S]; undefined: none
    Tensor out;   // [B, L, inner], where the result goes; undefined: new memory
  };
  /// softmax(scale Q K^T + bias) V for `query` [B, L, inner], `key` and `value` [B, S, inner]: [B, L, inner].
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const Extra& extra = {}) const;

 private:
  AttentionShape shape_;
};

}  // namespace diffract::nn
