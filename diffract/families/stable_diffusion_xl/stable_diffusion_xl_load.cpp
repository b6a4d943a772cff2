#include "diffract/core/error.h"
#include "diffract/families/shared/clip_text.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"

namespace diffract::families {

std::shared_ptr<StableDiffusionXLPipeline> StableDiffusionXLPipeline::from_folder(
    const io::ModelFolder& folder, const loading::LoadOptions& options) {
  const ConfigReader index = folder.index();
  if (index.boolean("requires_aesthetics_score", false))
    throw CheckpointError(
        "{}: \"requires_aesthetics_score\" is true: it is a refiner, which works on another model's picture; "
        "diffract makes pictures from text only. Take the base model",
        index.source());
  const loading::ComponentLoader load(folder, kStableDiffusionXL, options);
  const auto scheduler = first_scheduler(load, load.scheduler(), options);
  TextEncoders text{.tokenizer = load_clip_tokenizer(load, "tokenizer"),
                    .tokenizer_2 = load_clip_tokenizer(load, "tokenizer_2"),
                    .text_encoder = load.model<models::CLIPTextModel>("text_encoder"),
                    .text_encoder_2 = load.model<models::CLIPTextModelWithProjection>("text_encoder_2"),
                    .force_zeros_for_empty_prompt = index.boolean("force_zeros_for_empty_prompt", true)};
  return std::make_shared<StableDiffusionXLPipeline>(std::move(text), load_core(load, scheduler));
}

}  // namespace diffract::families
