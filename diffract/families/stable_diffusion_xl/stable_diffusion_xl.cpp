#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"

#include "diffract/core/error.h"
#include "diffract/families/shared/clip_text.h"
#include "diffract/families/stable_diffusion_xl/micro_conditioning.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::families {
namespace {

void warn_of_unused(const pipelines::Request& request, bool do_classifier_free_guidance,
                    bool zeros_without_negative) {
  const bool has_second = pipelines::has_text(request.negative_prompt_2);
  pipelines::warn_of_no_effect(!do_classifier_free_guidance && has_second, "negative_prompt_2",
                               "guidance_scale is not above 1");
  pipelines::warn_of_no_effect(
      do_classifier_free_guidance && has_second && zeros_without_negative && request.negative_prompt.empty(),
      "negative_prompt_2", "there is no negative_prompt (it may be empty)");
}

// The tokens' width of all text encoders together.
int64_t text_width(const StableDiffusionXLPipeline::TextEncoders& text) {
  return (text.text_encoder ? text.text_encoder->config().hidden_size : 0) +
         text.text_encoder_2->config().hidden_size;
}

}  // namespace

StableDiffusionXLPipeline::StableDiffusionXLPipeline(TextEncoders text, Core core)
    : UNetPipeline(kStableDiffusionXL, std::move(core), text_width(text),
                   "the sum of the text encoders' \"hidden_size\""),
      text_(std::move(text)) {
  const auto& unet = this->core().unet->config();
  if (!unet.text_time)
    throw CheckpointError(
        "unet: \"addition_embed_type\" is null; expected \"text_time\", as Stable Diffusion XL's UNet has "
        "it");
  const int64_t pooled = text_.text_encoder_2->config().projection_dim,
                ids = time_id_count(text_.requires_aesthetics_score),
                numbers = ids * unet.text_time->addition_time_embed_dim,
                expected = unet.text_time->projection_class_embeddings_input_dim;
  if (pooled + numbers != expected)
    throw CheckpointError(
        "unet: \"projection_class_embeddings_input_dim\" is {}; expected {}: text_encoder_2's "
        "\"projection_dim\" {} and {} times \"addition_time_embed_dim\"",
        expected, pooled + numbers, pooled, ids);
}

std::vector<std::string> StableDiffusionXLPipeline::text_encoders() const {
  if (!text_.text_encoder) return {"text_encoder_2"};
  return {"text_encoder", "text_encoder_2"};
}

StableDiffusionXLPipeline::Encoded StableDiffusionXLPipeline::encode_texts(
    const std::vector<std::string>& texts, const std::vector<std::string>& texts_2, int64_t clip_skip) const {
  const auto& second = *text_.text_encoder_2;
  using Made = pipelines::TextCache::Made;
  auto& cache = *core().texts;
  const auto encode_2 = [&]() -> Made {
    const auto [state, pooled] = second(clip_ids(*text_.tokenizer_2, texts_2, second.config()), clip_skip);
    return {state, pooled};
  };
  const Made two =
      cache.get({.encoder = "text_encoder_2", .texts = texts_2, .clip_skip = clip_skip}, encode_2);
  if (!text_.text_encoder) return {.embeds = two[0], .pooled = two[1]};
  const auto& first = *text_.text_encoder;
  const auto encode = [&]() -> Made {
    return {first.states(clip_ids(*text_.tokenizer, texts, first.config()), clip_skip).hidden_state};
  };
  const Made one = cache.get({.encoder = "text_encoder", .texts = texts, .clip_skip = clip_skip}, encode);
  if (one[0].size(1) != two[0].size(1))
    throw CheckpointError("tokenizer: gives {} tokens a text, but tokenizer_2 {} (\"model_max_length\")",
                          one[0].size(1), two[0].size(1));
  return {.embeds = at::cat({one[0], two[0]}, 2), .pooled = two[1]};
}

StableDiffusionXLPipeline::Encoded StableDiffusionXLPipeline::encode_positive(
    const pipelines::Request& request) const {
  if (request.prompt_embeds.defined())
    return {.embeds = request.prompt_embeds.to(core().device),
            .pooled = request.pooled_prompt_embeds.to(core().device)};
  const Encoded each = encode_texts(request.prompt, pipelines::or_else(request.prompt_2, request.prompt),
                                    request.clip_skip.value_or(0));
  return {.embeds = each.embeds.repeat_interleave(request.num_images_per_prompt, 0),
          .pooled = each.pooled.repeat_interleave(request.num_images_per_prompt, 0)};
}

// Without clip_skip, which is the prompt's alone, as in diffusers.
StableDiffusionXLPipeline::Encoded StableDiffusionXLPipeline::encode_negative(
    const pipelines::Request& request, const Encoded& positive) const {
  if (request.negative_prompt_embeds.defined())
    return {.embeds = request.negative_prompt_embeds.to(core().device),
            .pooled = request.negative_pooled_prompt_embeds.to(core().device)};
  if (request.negative_prompt.empty() && text_.force_zeros_for_empty_prompt)
    return {.embeds = at::zeros_like(positive.embeds), .pooled = at::zeros_like(positive.pooled)};
  const size_t count = std::max<size_t>(1, request.prompt.size());
  const auto texts = pipelines::one_for_each_prompt(request.negative_prompt, count, "");
  const Encoded each = encode_texts(texts, pipelines::or_else(request.negative_prompt_2, texts), 0);
  const int64_t images_each = positive.embeds.size(0) / static_cast<int64_t>(count);
  return {.embeds = each.embeds.repeat_interleave(images_each, 0),
          .pooled = each.pooled.repeat_interleave(images_each, 0)};
}

StableDiffusionXLPipeline::PromptEmbeds StableDiffusionXLPipeline::encode_prompt(
    const pipelines::Request& request, bool do_classifier_free_guidance) const {
  const Encoded positive = encode_positive(request);
  PromptEmbeds all{.prompt_embeds = positive.embeds, .pooled_prompt_embeds = positive.pooled};
  if (!do_classifier_free_guidance) return all;
  const Encoded negative = encode_negative(request, positive);
  all.negative_prompt_embeds = negative.embeds;
  all.negative_pooled_prompt_embeds = negative.pooled;
  return all;
}

UNetPipeline::Conditions StableDiffusionXLPipeline::conditions_of(const pipelines::Request& request,
                                                                  bool do_classifier_free_guidance) const {
  if (text_.requires_aesthetics_score && request.image.empty())
    throw UsageError(
        "image: this model is a refiner (\"requires_aesthetics_score\" in its model_index.json), which works "
        "on a picture; give one with --image, or take the base model");
  warn_of_unused(request, do_classifier_free_guidance, text_.force_zeros_for_empty_prompt);
  const PromptEmbeds embeds = encode_prompt(request, do_classifier_free_guidance);
  const TimeIds ids = time_ids_of(request, image_size(request), text_.requires_aesthetics_score);
  const auto one_row_an_image = [&](const Tensor& row) {
    return row.unsqueeze(0).repeat({embeds.prompt_embeds.size(0), 1});
  };
  if (!do_classifier_free_guidance)
    return {.text = embeds.prompt_embeds,
            .pooled = embeds.pooled_prompt_embeds,
            .time_ids = one_row_an_image(ids.positive)};
  using pipelines::negative_and_positive;
  return {.text = negative_and_positive(embeds.negative_prompt_embeds, embeds.prompt_embeds, "prompt_embeds"),
          .pooled = negative_and_positive(embeds.negative_pooled_prompt_embeds, embeds.pooled_prompt_embeds,
                                          "pooled_prompt_embeds"),
          .time_ids = at::cat({one_row_an_image(ids.negative), one_row_an_image(ids.positive)})};
}

}  // namespace diffract::families
