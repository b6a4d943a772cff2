#pragma once
#include <ATen/ATen.h>

#include <algorithm>

#include "diffract/models/model_class.h"

namespace diffract::models {

/// A tensor without data.
inline at::Tensor on_meta(at::IntArrayRef shape) {
  return at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta));
}

/// Ids of a text encoder, at most `most` a text: their values are checked, so they are real.
inline at::Tensor some_ids(const ForwardShape& shape, int64_t most) {
  return at::zeros({shape.batch, std::min(shape.text_tokens, most)}, at::kLong);
}

}  // namespace diffract::models
