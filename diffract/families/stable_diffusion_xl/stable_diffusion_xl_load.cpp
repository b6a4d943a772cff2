#include "diffract/families/shared/clip_text.h"
#include "diffract/families/shared/pretrained_folder.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"

namespace diffract::families {

std::shared_ptr<StableDiffusionXLPipeline> StableDiffusionXLPipeline::from_pretrained(
    const std::string& model, const loading::LoadOptions& options) {
  return from_folder(pretrained_folder(model, options), options);
}

std::shared_ptr<StableDiffusionXLPipeline> StableDiffusionXLPipeline::from_folder(
    const io::ModelFolder& folder, const loading::LoadOptions& options) {
  const ConfigReader index = folder.index();
  const loading::ComponentLoader load(folder, kStableDiffusionXL, options);
  const auto scheduler = first_scheduler(load, load.scheduler(), options);
  const bool requires_aesthetics_score = index.boolean("requires_aesthetics_score", false);
  const bool has_first = !requires_aesthetics_score || folder.has_component("text_encoder");
  auto first =
      has_first ? load_clip_tokenizer(load, "tokenizer", "text_encoder") : pipelines::PromptTokenizer();
  auto second = load_clip_tokenizer(load, "tokenizer_2", "text_encoder_2");
  using Second = models::CLIPTextModelWithProjection;
  TextEncoders text{
      .tokenizer = first.tokenizer,
      .tokenizer_2 = second.tokenizer,
      .text_encoder = has_first ? load.model<models::CLIPTextModel>("text_encoder", first.tokens) : nullptr,
      .text_encoder_2 = load.model<Second>("text_encoder_2", second.tokens),
      .force_zeros_for_empty_prompt = index.boolean("force_zeros_for_empty_prompt", true),
      .requires_aesthetics_score = requires_aesthetics_score};
  return std::make_shared<StableDiffusionXLPipeline>(std::move(text), load_core(load, scheduler));
}

}  // namespace diffract::families
