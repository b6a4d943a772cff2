#include "diffract/core/log.h"
#include "diffract/pipelines/load_component.h"
#include "diffract/pipelines/model_defaults.h"
#include "diffract/pipelines/stable_diffusion.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/text/clip_tokenizer.h"

namespace diffract::pipelines {
namespace {

constexpr size_t kMostGraphs = 4;  // shapes of pictures and batches that come in turn

// What diffusers' StableDiffusionPipeline changes in a checkpoint's scheduler, since old configs said it
// wrongly or not at all: timesteps begin at 1, and predicted pictures are not clipped. Source:
// pipeline_stable_diffusion.py.
SchedulerSpec corrected(SchedulerSpec spec) {
  const auto set = [&](const char* key, const Json& value) {
    if (!spec.config.contains(key)) spec.not_in_file.emplace_back(key);
    spec.config[key] = value;
  };
  if (!spec.class_name.starts_with("FlowMatch") && spec.config.value("steps_offset", Json(0)) != Json(1))
    set("steps_offset", 1);
  const bool clips_by_default = spec.class_name == "DDIMScheduler" || spec.class_name == "DDPMScheduler";
  if (spec.config.value("clip_sample", Json(clips_by_default)) == Json(true)) set("clip_sample", false);
  return spec;
}

}  // namespace

std::shared_ptr<StableDiffusionPipeline> StableDiffusionPipeline::from_folder(const io::ModelFolder& folder,
                                                                              const LoadOptions& options) {
  const ComponentLoader load(folder, options);
  if (folder.has_component("safety_checker"))
    log::write_once(
        log::Level::warning,
        "this checkpoint has a safety_checker, which diffract does not run: look at pictures before you "
        "show them to others");
  SchedulerSpec scheduler =
      first_scheduler(corrected(load.scheduler()), options, StableDiffusionPipeline::kSchedulers);
  load.require_class("tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"});
  auto pipeline = std::make_shared<StableDiffusionPipeline>(Components{
      .tokenizer = std::make_shared<const text::ClipTokenizer>(
          text::ClipTokenizer::load(folder.component_folder("tokenizer"))),
      .text_encoder =
          load.model<models::CLIPTextModel, models::CLIPTextConfig>("text_encoder", "CLIPTextModel"),
      .unet = load.model<models::UNet2DConditionModel, models::UNet2DConditionConfig>("unet",
                                                                                      "UNet2DConditionModel"),
      .vae = load.model<models::AutoencoderKL, models::AutoencoderKLConfig>("vae", "AutoencoderKL"),
      .scheduler = std::move(scheduler),
      .device = load.device(),
      .policy = load.policy(),
      .map = load.hf_device_map(),
      .graphs = std::make_shared<kernels::StepGraphs>(load.may_record("unet") ? kMostGraphs : 0),
      .memory = load.request_memory()});
  pipeline->defaults_.size.width =
      pipeline->components_.unet->config().sample_width * pipeline->components_.vae->config().scale_factor();
  pipeline->defaults_ = model_defaults(folder, pipeline->defaults_);
  return pipeline;
}

}  // namespace diffract::pipelines
