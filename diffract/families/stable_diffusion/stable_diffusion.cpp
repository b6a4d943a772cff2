#include "diffract/families/stable_diffusion/stable_diffusion.h"

#include "diffract/families/shared/clip_text.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::families {

StableDiffusionPipeline::StableDiffusionPipeline(TextEncoder text, Core core)
    : UNetPipeline(kStableDiffusion, std::move(core), text.text_encoder->config().hidden_size,
                   "text_encoder: \"hidden_size\""),
      text_(std::move(text)) {}

Tensor StableDiffusionPipeline::encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const {
  const auto& encoder = *text_.text_encoder;
  const auto encode = [&]() -> pipelines::TextCache::Made {
    return {encoder(clip_ids(*text_.tokenizer, texts, encoder.config()), clip_skip).last_hidden_state};
  };
  return core()
      .texts->get({.encoder = "text_encoder", .texts = texts, .clip_skip = clip_skip}, encode)
      .front();
}

StableDiffusionPipeline::PromptEmbeds StableDiffusionPipeline::encode_prompt(
    const pipelines::Request& request, bool do_classifier_free_guidance) const {
  const auto one_row_an_image = [&](const Tensor& rows) {
    return rows.repeat_interleave(request.num_images_per_prompt, 0);
  };
  PromptEmbeds embeds{.positive =
                          one_row_an_image(encode_texts(request.prompt, request.clip_skip.value_or(0)))};
  if (do_classifier_free_guidance)
    embeds.negative =  // of the last layer: clip_skip is the prompt's alone, as in diffusers
        one_row_an_image(encode_texts(
            pipelines::one_for_each_prompt(request.negative_prompt, request.prompt.size(), ""), 0));
  return embeds;
}

UNetPipeline::Conditions StableDiffusionPipeline::conditions_of(const pipelines::Request& request,
                                                                bool do_classifier_free_guidance) const {
  const PromptEmbeds embeds = encode_prompt(request, do_classifier_free_guidance);
  if (!do_classifier_free_guidance) return {.text = embeds.positive};
  return {.text = pipelines::negative_and_positive(embeds.negative, embeds.positive, "prompt_embeds")};
}

}  // namespace diffract::families
