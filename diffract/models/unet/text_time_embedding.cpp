#include "diffract/models/unet/text_time_embedding.h"

#include "diffract/core/error.h"

namespace diffract::models {

TextTimeEmbedding::TextTimeEmbedding(const WeightScope& w, const TextTimeConfig& config,
                                     int64_t time_embed_dim)
    : config_(config),
      embedding_(w, config.projection_class_embeddings_input_dim, time_embed_dim),  // SiLU whatever act_fn is
      arithmetic_(w.arithmetic()) {}

Tensor TextTimeEmbedding::operator()(const Tensor& text_embeds, const Tensor& time_ids) const {
  const int64_t width = config_.addition_time_embed_dim,
                expected = config_.projection_class_embeddings_input_dim;
  if (text_embeds.dim() != 2 || time_ids.dim() != 2 || text_embeds.size(0) != time_ids.size(0) ||
      text_embeds.size(1) + time_ids.size(1) * width != expected)
    throw UsageError(
        "unet: pooled text has shape {} and time ids {}; expected one row a picture, with {} values in all "
        "(\"projection_class_embeddings_input_dim\"), {} of them for each id",
        c10::str(text_embeds.sizes()), c10::str(time_ids.sizes()), expected, width);
  const Tensor sinusoids = nn::sinusoidal_embedding(
      time_ids.flatten(),
      {.width = width, .flip_sin_to_cos = config_.flip_sin_to_cos, .frequency_shift = config_.freq_shift});
  const Tensor numbers = nn::beside(text_embeds, sinusoids.reshape({time_ids.size(0), -1}));
  return nn::beside(text_embeds,
                    embedding_(at::cat({text_embeds.to(arithmetic_), numbers.to(arithmetic_)}, 1)));
}

}  // namespace diffract::models
