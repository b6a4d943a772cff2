#include "diffract/pipelines/stable_diffusion.h"

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/core/stop.h"
#include "diffract/pipelines/auto_model.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_copy.h"
#include "diffract/tensor/noise.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kTrialSteps = 4;  // the fewest that every scheduler takes

void require(bool fits, const std::string& problem) {
  if (!fits) throw CheckpointError("{}. The folder mixes parts of different models", problem);
}

}  // namespace

StableDiffusionPipeline::StableDiffusionPipeline(Components components) : components_(std::move(components)) {
  const auto& text = components_.text_encoder->config();
  const auto& unet = components_.unet->config();
  const auto& vae = components_.vae->config();
  for (const int64_t width : unet.cross_attention_dim)
    require(width == text.hidden_size,
            fmt::format("unet: \"cross_attention_dim\" is {}, but text_encoder: \"hidden_size\" is {}", width,
                        text.hidden_size));
  if (unet.in_channels != vae.latent_channels)
    throw CheckpointError(
        "unet: \"in_channels\" is {}, but vae: \"latent_channels\" is {}; diffract runs text-to-image "
        "checkpoints only, not inpainting or image-conditioned ones",
        unet.in_channels, vae.latent_channels);
  require(unet.out_channels == vae.latent_channels,
          fmt::format("unet: \"out_channels\" is {}, but vae: \"latent_channels\" is {}", unet.out_channels,
                      vae.latent_channels));
  const int64_t pixels = unet.sample_size * vae.scale_factor();
  defaults_ = {.size = {.height = pixels, .width = pixels}, .num_inference_steps = 50, .guidance_scale = 7.5};
}

const UsableSchedulers StableDiffusionPipeline::kSchedulers = {
    .is_usable = [](const std::string& class_name) { return !class_name.starts_with("FlowMatch"); },
    .suggestion = "DPMSolverMultistepScheduler",
    .check = check_scheduler};

void StableDiffusionPipeline::require_scheduler() const {
  require_usable(components_.scheduler, kSchedulers);
}

void StableDiffusionPipeline::set_scheduler(SchedulerSpec scheduler) {
  check_scheduler(scheduler);
  components_.scheduler = std::move(scheduler);
}

void StableDiffusionPipeline::check_scheduler(const SchedulerSpec& scheduler) {
  if (scheduler.class_name.starts_with("FlowMatch"))
    throw UsageError(
        "scheduler \"{}\": is for models of flow matching; StableDiffusionPipeline needs one that removes "
        "noise, e.g. EulerDiscreteScheduler",
        scheduler.class_name);
  // Building a schedule checks the class and its config now rather than after the text has been encoded.
  schedulers::make_schedule(scheduler.class_name, scheduler.config, scheduler.source,
                            {.num_inference_steps = kTrialSteps});
}

ImageSize StableDiffusionPipeline::image_size(const Request& request) const {
  return checked_size(request, defaults_.size, components_.vae->config().scale_factor());
}

StableDiffusionPipeline::Settings StableDiffusionPipeline::settle(const Request& request) const {
  check_texts(request);
  refuse_second_prompt(request, "StableDiffusionPipeline");
  const int64_t scale = components_.vae->config().scale_factor();
  const ImageSize size = image_size(request);
  Settings settings{.latent_size = {.height = size.height / scale, .width = size.width / scale},
                    .num_inference_steps = checked_steps(request, defaults_),
                    .guidance_scale = checked_number("guidance_scale", request.guidance_scale,
                                                     defaults_.guidance_scale, 0, 1000),
                    .guidance_rescale = checked_number("guidance_rescale", request.guidance_rescale, 0, 0, 1),
                    .seeds = image_seeds(request),
                    .noise_dtype = request.noise_dtype};
  const bool guided = settings.do_classifier_free_guidance();
  warn_of_no_effect(!guided && has_text(request.negative_prompt), "negative_prompt",
                    "guidance_scale is not above 1");
  warn_of_no_effect(!guided && settings.guidance_rescale > 0, "guidance_rescale",
                    "guidance_scale is not above 1");
  warn_of_no_effect(request.eta != 0 && components_.scheduler.class_name != "DDIMScheduler", "eta",
                    "it is DDIMScheduler's");
  return settings;
}

Tensor StableDiffusionPipeline::encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const {
  const int64_t length = std::min(components_.tokenizer->model_max_length(),
                                  components_.text_encoder->config().max_position_embeddings);
  const Tensor ids =
      token_batch(*components_.tokenizer, texts,
                  {.length = length, .vocab_size = components_.text_encoder->config().vocab_size});
  return (*components_.text_encoder)(ids, clip_skip).last_hidden_state;
}

StableDiffusionPipeline::PromptEmbeds StableDiffusionPipeline::encode_prompt(
    const Request& request, bool do_classifier_free_guidance) const {
  const auto one_row_an_image = [&](const Tensor& rows) {
    return rows.repeat_interleave(request.num_images_per_prompt, 0);
  };
  PromptEmbeds embeds{.positive =
                          one_row_an_image(encode_texts(request.prompt, request.clip_skip.value_or(0)))};
  if (do_classifier_free_guidance)
    embeds.negative =  // of the last layer: clip_skip is the prompt's alone, as in diffusers
        one_row_an_image(encode_texts(one_each(request.negative_prompt, request.prompt.size(), ""), 0));
  return embeds;
}

// Before an hour of computing, not in its middle.
void StableDiffusionPipeline::require_memory(const Request& request, const Settings& settings) const {
  if (!components_.memory) return;
  const int64_t scale = components_.vae->config().scale_factor();
  const RequestShape shape{.height = settings.latent_size.height * scale,
                           .width = settings.latent_size.width * scale,
                           .images = static_cast<int64_t>(settings.seeds.size()),
                           .texts = static_cast<int64_t>(request.prompt.size()),
                           .is_guided = settings.do_classifier_free_guidance(),
                           .steps = settings.num_inference_steps};
  const auto all = [](const ComponentNeed&) { return true; };
  const auto runs = [&](const ComponentNeed& need) {
    return need.name != "vae" || request.output_type == OutputType::image;
  };
  components_.memory->require(shape, *components_.memory->needs_of(shape), runs, all, /*all_stay=*/true);
}

std::vector<ComponentStay> StableDiffusionPipeline::stays() const {
  std::vector<ComponentStay> list;
  for (const char* name : {"text_encoder", "unet", "vae"})
    list.push_back({.name = name, .stays = true, .loads = 1, .gone_for = {}});
  return list;
}

Output StableDiffusionPipeline::generate(const Request& request, const StepObserver& observe) const {
  const Settings settings = settle(request);
  require_scheduler();
  const auto& spec = components_.scheduler;
  // First: a config that does not suit so many steps shows before anything is computed.
  const auto schedule =
      schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                {.num_inference_steps = settings.num_inference_steps, .eta = request.eta});
  require_memory(request, settings);
  const PromptEmbeds prompt = encode_prompt(request, settings.do_classifier_free_guidance());
  flush();
  const Tensor latents = denoise(prompt, settings, *schedule, observe);
  if (request.output_type == OutputType::latent) return {.images = {}, .latents = latents};
  flush();  // what the denoising kept is of other sizes than what the VAE needs
  const auto& vae = *components_.vae;
  const Tensor pixels = vae.decode(latents / vae.config().scaling_factor);
  return {.images = VaeImageProcessor(vae.config().scale_factor(), components_.policy).postprocess(pixels),
          .latents = latents};
}

Tensor StableDiffusionPipeline::denoise(const PromptEmbeds& prompt, const Settings& settings,
                                        schedulers::Schedule& schedule, const StepObserver& observe) const {
  const auto& unet = *components_.unet;
  tensor::SeededNoise noise(
      settings.seeds, {unet.config().in_channels, settings.latent_size.height, settings.latent_size.width});
  const bool guided = settings.do_classifier_free_guidance();
  const Tensor text = guided ? at::cat({prompt.negative, prompt.positive}) : prompt.positive;

  // Noise is drawn on the CPU wherever the rest is computed, so that the picture is the same.
  const auto draw_in = [&](at::ScalarType dtype) {
    return tensor::send_to(noise.draw(dtype), components_.device);
  };
  // DPM-Solver's noise is drawn in float32 in diffusers, too.
  const bool is_wide = components_.scheduler.class_name == "DPMSolverMultistepScheduler";
  const auto draw = [&] { return draw_in(is_wide ? at::kFloat : settings.noise_dtype); };
  Tensor latents = draw_in(settings.noise_dtype) * schedule.init_noise_sigma();  // [B, C, h, w]
  const auto& timesteps = schedule.timesteps();
  FiniteCheck finite(components_.policy);
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const Tensor input = schedule.scale_model_input(guided ? at::cat({latents, latents}) : latents, i);
    Tensor prediction = components_.graphs->run(
        {input, at::full({input.size(0)}, timesteps[i], input.options().dtype(at::kFloat)), text},
        [&](const std::vector<Tensor>& in) { return unet(in[0], in[1], in[2]); });
    if (guided) prediction = guide(prediction, settings.guidance_scale, settings.guidance_rescale);
    latents = schedule.step(prediction, i, latents, draw);
    finite.step(latents, i);
    heartbeat();
    stop_if_asked();
    if (observe)
      observe({.index = i, .count = timesteps.size(), .timestep = timesteps[i], .latents = latents});
  }
  finite.finish();
  return latents;
}

}  // namespace diffract::pipelines
