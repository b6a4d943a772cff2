#include "diffract/families/stable_diffusion/stable_diffusion.h"

#include "diffract/core/error.h"
#include "diffract/loading/flush.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_copy.h"
#include "diffract/tensor/noise.h"

namespace diffract::families {
namespace {

constexpr int64_t kTrialSteps = 4;  // the fewest that every scheduler takes

void require(bool fits, const std::string& problem) {
  if (!fits) throw CheckpointError("{}. The folder mixes parts of different models", problem);
}

// A walk's steps of the UNet.
class UNetDenoiser final : public pipelines::Denoiser {
 public:
  // `text` [B, T, D], or [2B, T, D] with guidance; `scale` is of guidance that the model itself does.
  UNetDenoiser(const models::UNet2DConditionModel& unet, kernels::StepGraphs& graphs, Tensor text,
               double scale)
      : unet_(unet), graphs_(graphs), text_(std::move(text)), scale_(scale) {}

  Tensor predict(const Tensor& input, size_t, double timestep) override {
    const auto one_each = [&](double value) {
      return at::full({input.size(0)}, value, input.options().dtype(at::kFloat));
    };
    std::vector<Tensor> tensors{input, one_each(timestep), text_};
    if (unet_.config().time_cond_proj_dim > 0) tensors.push_back(one_each(scale_ - 1));
    return graphs_.run(tensors, [this](const std::vector<Tensor>& in) {
      return unet_(in[0], in[1], in[2], in.size() > 3 ? in[3] : Tensor());
    });
  }

 private:
  const models::UNet2DConditionModel& unet_;
  kernels::StepGraphs& graphs_;
  Tensor text_;
  double scale_;
};

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
  defaults_ = {.size = {.height = pixels, .width = unet.sample_width * vae.scale_factor()},
               .num_inference_steps = kStableDiffusion.num_inference_steps,
               .guidance_scale = kStableDiffusion.guidance_scale};
}

pipelines::SchedulerRules StableDiffusionPipeline::rules() {
  return {.facts = kStableDiffusion, .try_out = [](const schedulers::SchedulerSpec& spec) {
            schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                      {.num_inference_steps = kTrialSteps});
          }};
}

loading::ImageSize StableDiffusionPipeline::image_size(const pipelines::Request& request) const {
  return size_of(request, defaults_.size, kStableDiffusion, components_.vae->config().scale_factor());
}

StableDiffusionPipeline::Settings StableDiffusionPipeline::settle(
    const pipelines::Request& request, const schedulers::SchedulerTraits& scheduler) const {
  const int64_t scale = components_.vae->config().scale_factor();
  const loading::ImageSize size = image_size(request);
  Settings settings{.latent_size = {.height = size.height / scale, .width = size.width / scale},
                    .num_inference_steps = pipelines::steps_of(request, defaults_.num_inference_steps),
                    .guidance_scale = request.guidance_scale.value_or(defaults_.guidance_scale),
                    .guidance_rescale = request.guidance_rescale.value_or(0),
                    .is_guided_by_model = components_.unet->config().time_cond_proj_dim > 0,
                    .draws_in_float32 = scheduler.float32_noise,
                    .seeds = pipelines::image_seeds(request),
                    .noise_dtype = request.noise_dtype};
  const bool guided = settings.do_classifier_free_guidance();
  const char* why =
      settings.is_guided_by_model ? "the model was distilled with guidance" : "guidance_scale is not above 1";
  pipelines::warn_of_no_effect(!guided && pipelines::has_text(request.negative_prompt), "negative_prompt",
                               why);
  pipelines::warn_of_no_effect(!guided && settings.guidance_rescale > 0, "guidance_rescale", why);
  pipelines::warn_of_no_effect(request.eta != 0 && !scheduler.uses_eta, "eta",
                               "the scheduler does not take it");
  return settings;
}

Tensor StableDiffusionPipeline::encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const {
  const int64_t length = std::min(components_.tokenizer->model_max_length(),
                                  components_.text_encoder->config().max_position_embeddings);
  const Tensor ids =
      pipelines::token_batch(*components_.tokenizer, texts,
                             {.length = length, .vocab_size = components_.text_encoder->config().vocab_size});
  return (*components_.text_encoder)(ids, clip_skip).last_hidden_state;
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
        one_row_an_image(
            encode_texts(pipelines::one_each(request.negative_prompt, request.prompt.size(), ""), 0));
  return embeds;
}

// Before an hour of computing, not in its middle.
void StableDiffusionPipeline::require_memory(const pipelines::Request& request,
                                             const Settings& settings) const {
  if (!components_.memory) return;
  const int64_t scale = components_.vae->config().scale_factor();
  const loading::RequestShape shape{.height = settings.latent_size.height * scale,
                                    .width = settings.latent_size.width * scale,
                                    .images = static_cast<int64_t>(settings.seeds.size()),
                                    .texts = static_cast<int64_t>(request.prompt.size()),
                                    .is_guided = settings.do_classifier_free_guidance(),
                                    .steps = settings.num_inference_steps};
  const auto all = [](const loading::ComponentNeed&) { return true; };
  const auto runs = [&](const loading::ComponentNeed& need) {
    return need.name != "vae" || request.output_type == pipelines::OutputType::image;
  };
  components_.memory->require(shape, *components_.memory->needs_of(shape), runs, all, /*all_stay=*/true);
}

std::vector<loading::ComponentStay> StableDiffusionPipeline::stays() const {
  std::vector<loading::ComponentStay> list;
  for (const char* name : {"text_encoder", "unet", "vae"})
    list.push_back({.name = name, .stays = true, .loads = 1, .gone_for = {}});
  return list;
}

pipelines::Output StableDiffusionPipeline::generate(const pipelines::Request& request,
                                                    const schedulers::SchedulerSpec& spec,
                                                    const pipelines::StepObserver& observe) const {
  const Settings settings = settle(request, *schedulers::traits_of(spec.class_name));
  // First: a config that does not suit so many steps shows before anything is computed.
  const auto schedule = schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                                  {.num_inference_steps = settings.num_inference_steps,
                                                   .eta = request.eta,
                                                   .timesteps = request.timesteps,
                                                   .sigmas = {request.sigmas.begin(), request.sigmas.end()}});
  require_memory(request, settings);
  const PromptEmbeds prompt = encode_prompt(request, settings.do_classifier_free_guidance());
  loading::flush();
  const Tensor latents = denoise(prompt, settings, *schedule, observe);
  if (request.output_type == pipelines::OutputType::latent) return {.images = {}, .latents = latents};
  loading::flush();  // what the denoising kept is of other sizes than what the VAE needs
  const auto& vae = *components_.vae;
  const Tensor pixels = vae.decode(latents / vae.config().scaling_factor);
  return {
      .images =
          pipelines::VaeImageProcessor(vae.config().scale_factor(), components_.policy).postprocess(pixels),
      .latents = latents};
}

Tensor StableDiffusionPipeline::denoise(const PromptEmbeds& prompt, const Settings& settings,
                                        schedulers::Schedule& schedule,
                                        const pipelines::StepObserver& observe) const {
  const auto& unet = *components_.unet;
  tensor::SeededNoise noise(
      settings.seeds, {unet.config().in_channels, settings.latent_size.height, settings.latent_size.width});
  const bool guided = settings.do_classifier_free_guidance();
  // Noise is drawn on the CPU wherever the rest is computed, so that the picture is the same.
  const auto draw_in = [&](at::ScalarType dtype) {
    return tensor::send_to(noise.draw(dtype), components_.device);
  };
  const auto draw = [&] { return draw_in(settings.draws_in_float32 ? at::kFloat : settings.noise_dtype); };
  UNetDenoiser denoiser(unet, *components_.graphs,
                        guided ? at::cat({prompt.negative, prompt.positive}) : prompt.positive,
                        settings.guidance_scale);
  return pipelines::denoise(
      draw_in(settings.noise_dtype) * schedule.init_noise_sigma(),  // [B, C, h, w]
      {.denoiser = denoiser,
       .schedule = schedule,
       .noise = draw,
       .guidance = {.is_on = guided, .scale = settings.guidance_scale, .rescale = settings.guidance_rescale},
       .policy = components_.policy,
       .observe = observe});
}

}  // namespace diffract::families
