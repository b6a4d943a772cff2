#pragma once
#include "diffract/nn/linear.h"

namespace diffract::nn {

/// A table of rows: ids [...] -> [..., width].
class Embedding {
 public:
  Embedding(const WeightScope& w, int64_t rows, int64_t width);
  /// `ids` are int64 in [0, rows).
  Tensor operator()(const Tensor& ids) const;

 private:
  Weight weight_;  // [rows, width]
};

}  // namespace diffract::nn
