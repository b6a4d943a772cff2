#pragma once
#include <vector>

#include "diffract/nn/linear.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

/// The scales, shifts and gates that the norms of a block take from time, guidance and pooled text alone, so
/// that they can be made for many steps at once. Source: Peebles and Xie 2023, adaLN-Zero; diffusers
/// AdaLayerNormZero (six vectors a norm) and AdaLayerNormZeroSingle (three).
class FluxModulation {
 public:
  struct Norm {
    const char* name;  // of its module in the block
    int64_t vectors;
  };
  FluxModulation(const WeightScope& w, int64_t width, const std::vector<Norm>& norms);
  /// [N, D] -> [N, vectors of all norms * D], norm by norm and in the checkpoint's order. `temb`: activated.
  Tensor operator()(const Tensor& temb) const;

  /// The vectors [B, 1, D] of what a block's modulation [B, vectors * D] is.
  static std::vector<Tensor> vectors(const Tensor& modulation, int64_t width) {
    return modulation.unsqueeze(1).split(width, 2);
  }

 private:
  std::vector<nn::Linear> linears_;
};

}  // namespace diffract::models
