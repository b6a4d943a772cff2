#include "diffract/families/shared/clip_text.h"
#include "diffract/families/shared/pretrained_folder.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"

namespace diffract::families {

std::shared_ptr<StableDiffusionXLPipeline> StableDiffusionXLPipeline::from_pretrained(
    const std::string& model, const loading::LoadOptions& options) {
  return from_folder(pretrained_folder(model), options);
}

std::shared_ptr<StableDiffusionXLPipeline> StableDiffusionXLPipeline::from_folder(
    const io::ModelFolder& folder, const loading::LoadOptions& options) {
  const ConfigReader index = folder.index();
  const loading::ComponentLoader load(folder, kStableDiffusionXL, options);
  const auto scheduler = first_scheduler(load, load.scheduler(), options);
  const bool requires_aesthetics_score = index.boolean("requires_aesthetics_score", false);
  const bool has_first = !requires_aesthetics_score || folder.has_component("text_encoder");
  TextEncoders text{.tokenizer = has_first ? load_clip_tokenizer(load, "tokenizer") : nullptr,
                    .tokenizer_2 = load_clip_tokenizer(load, "tokenizer_2"),
                    .text_encoder = has_first ? load.model<models::CLIPTextModel>("text_encoder") : nullptr,
                    .text_encoder_2 = load.model<models::CLIPTextModelWithProjection>("text_encoder_2"),
                    .force_zeros_for_empty_prompt = index.boolean("force_zeros_for_empty_prompt", true),
                    .requires_aesthetics_score = requires_aesthetics_score};
  return std::make_shared<StableDiffusionXLPipeline>(std::move(text), load_core(load, scheduler));
}

}  // namespace diffract::families
