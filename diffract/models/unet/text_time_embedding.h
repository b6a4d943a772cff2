#pragma once
#include "diffract/core/json.h"
#include "diffract/nn/timestep.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

/// A UNet's "addition_embed_type": "text_time"; fields are keys of its config.json.
struct TextTimeConfig {
  int64_t addition_time_embed_dim;                // of each number
  int64_t projection_class_embeddings_input_dim;  // of the pooled text and all numbers
  bool flip_sin_to_cos;
  double freq_shift;
};

/// What is added to the time embedding for a picture's pooled text and a few numbers: its sizes and crop.
/// Source: diffusers unet_2d_condition.py, get_aug_embed; Podell et al. 2023 section 2.2.
class TextTimeEmbedding {
 public:
  TextTimeEmbedding(const WeightScope& w, const TextTimeConfig& config, int64_t time_embed_dim);
  /// [B, time_embed_dim] of `text_embeds` [B, D] and `time_ids` [B, N], float32, where D and N numbers'
  /// widths are projection_class_embeddings_input_dim in all. Throws UsageError for others.
  Tensor operator()(const Tensor& text_embeds, const Tensor& time_ids) const;

 private:
  TextTimeConfig config_;
  nn::TimestepEmbedding embedding_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
