#include "diffract/nn/embedding.h"

namespace diffract::nn {

Embedding::Embedding(const WeightScope& w, int64_t rows, int64_t width)
    : weight_(w.weight("weight", {rows, width})) {}

// The few rows that are asked for are widened, not the table.
Tensor Embedding::operator()(const Tensor& ids) const {
  return at::embedding(weight_.stored(), ids).to(weight_.arithmetic());
}

}  // namespace diffract::nn
