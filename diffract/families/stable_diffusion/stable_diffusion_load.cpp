#include "diffract/families/shared/clip_text.h"
#include "diffract/families/stable_diffusion/stable_diffusion.h"

namespace diffract::families {
namespace {

// What diffusers' StableDiffusionPipeline changes in a checkpoint's scheduler, since old configs said it
// wrongly or not at all: timesteps begin at 1, and predicted pictures are not clipped. Source:
// pipeline_stable_diffusion.py.
schedulers::SchedulerSpec corrected(schedulers::SchedulerSpec spec) {
  const auto set = [&](const char* key, const Json& value) {
    if (!spec.config.contains(key)) spec.not_in_file.emplace_back(key);
    spec.config[key] = value;
  };
  const auto* traits = schedulers::traits_of(spec.class_name);
  const bool is_flow = traits && traits->path == schedulers::Path::flow;
  if (!is_flow && spec.config.value("steps_offset", Json(0)) != Json(1)) set("steps_offset", 1);
  const bool clips_by_default = spec.class_name == "DDIMScheduler" || spec.class_name == "DDPMScheduler";
  if (spec.config.value("clip_sample", Json(clips_by_default)) == Json(true)) set("clip_sample", false);
  return spec;
}

}  // namespace

std::shared_ptr<StableDiffusionPipeline> StableDiffusionPipeline::from_folder(
    const io::ModelFolder& folder, const loading::LoadOptions& options) {
  const loading::ComponentLoader load(folder, kStableDiffusion, options);
  // In this order: what is small is looked at first.
  const auto scheduler = first_scheduler(load, corrected(load.scheduler()), options);
  auto grown = load_clip_tokenizer(load, "tokenizer", "text_encoder");
  TextEncoder text{
      .tokenizer = std::move(grown.tokenizer),
      .text_encoder = load.model<models::CLIPTextModel>("text_encoder", std::move(grown.tokens))};
  return std::make_shared<StableDiffusionPipeline>(std::move(text), load_core(load, scheduler));
}

}  // namespace diffract::families
