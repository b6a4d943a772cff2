#include "diffract/families/shared/unet_pipeline.h"

#include "diffract/core/error.h"
#include "diffract/loading/flush.h"
#include "diffract/loading/model_defaults.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_copy.h"
#include "diffract/tensor/noise.h"

namespace diffract::families {
namespace {

constexpr int64_t kTrialSteps = 4;  // the fewest that every scheduler takes
constexpr size_t kMostGraphs = 4;   // shapes of pictures and batches that come in turn

void require(bool fits, const std::string& problem) {
  if (!fits) throw CheckpointError("{}. The folder mixes parts of different models", problem);
}

// A walk's steps of the UNet.
class UNetDenoiser final : public pipelines::Denoiser {
 public:
  // `text` [B, T, D], or [2B, T, D] with guidance; `added` [B or 2B, time_embed_dim] or undefined
  UNetDenoiser(const models::UNet2DConditionModel& unet, kernels::StepGraphs& graphs, Tensor text,
               Tensor added)
      : unet_(unet), graphs_(graphs), text_(std::move(text)), added_(std::move(added)) {}

  Tensor predict(const Tensor& input, size_t, double timestep) override {
    return graphs_.run(
        {input, at::full({input.size(0)}, timestep, input.options().dtype(at::kFloat)), text_, added_},
        [this](const std::vector<Tensor>& in) { return unet_(in[0], in[1], in[2], in[3]); });
  }

 private:
  const models::UNet2DConditionModel& unet_;
  kernels::StepGraphs& graphs_;
  Tensor text_, added_;
};

}  // namespace

UNetPipeline::UNetPipeline(const loading::FamilyFacts& facts, Core core, int64_t text_width,
                           const char* text_source)
    : facts_(facts), core_(std::move(core)) {
  const auto& unet = core_.unet->config();
  const auto& vae = core_.vae->config();
  for (const int64_t width : unet.cross_attention_dim)
    require(width == text_width,
            fmt::format("unet: \"cross_attention_dim\" is {}, but {} is {}", width, text_source, text_width));
  if (unet.in_channels != vae.latent_channels)
    throw CheckpointError(
        "unet: \"in_channels\" is {}, but vae: \"latent_channels\" is {}; diffract runs text-to-image "
        "checkpoints only, not inpainting or image-conditioned ones",
        unet.in_channels, vae.latent_channels);
  require(unet.out_channels == vae.latent_channels,
          fmt::format("unet: \"out_channels\" is {}, but vae: \"latent_channels\" is {}", unet.out_channels,
                      vae.latent_channels));
}

schedulers::SchedulerSpec UNetPipeline::first_scheduler(const loading::ComponentLoader& load,
                                                        schedulers::SchedulerSpec of_checkpoint,
                                                        const loading::LoadOptions& options) {
  return pipelines::first_scheduler(std::move(of_checkpoint), options, rules(load.facts()));
}

UNetPipeline::Core UNetPipeline::load_core(const loading::ComponentLoader& load,
                                           schedulers::SchedulerSpec scheduler) {
  Core core{.unet = load.model<models::UNet2DConditionModel>("unet"),
            .vae = load.model<models::AutoencoderKL>("vae"),
            .scheduler = std::move(scheduler),
            .device = load.device(),
            .policy = load.policy(),
            .map = load.hf_device_map(),
            .graphs = std::make_shared<kernels::StepGraphs>(load.may_record("unet") ? kMostGraphs : 0),
            .memory = load.request_memory()};
  const auto& unet = core.unet->config();
  const int64_t scale = core.vae->config().scale_factor();
  core.defaults = loading::model_defaults(
      load.folder(), {.size = {.height = unet.sample_size * scale, .width = unet.sample_width * scale},
                      .num_inference_steps = load.facts().num_inference_steps,
                      .guidance_scale = load.facts().guidance_scale});
  return core;
}

pipelines::SchedulerRules UNetPipeline::rules(const loading::FamilyFacts& facts) {
  return {.facts = facts, .try_out = [](const schedulers::SchedulerSpec& spec) {
            schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                      {.num_inference_steps = kTrialSteps});
          }};
}

loading::ImageSize UNetPipeline::image_size(const pipelines::Request& request) const {
  return size_of(request, core_.defaults.size, facts_, core_.vae->config().scale_factor());
}

UNetPipeline::Settings UNetPipeline::settle(const pipelines::Request& request,
                                            const schedulers::SchedulerTraits& scheduler) const {
  const int64_t scale = core_.vae->config().scale_factor();
  const loading::ImageSize size = image_size(request);
  Settings settings{
      .latent_size = {.height = size.height / scale, .width = size.width / scale},
      .num_inference_steps = request.num_inference_steps.value_or(core_.defaults.num_inference_steps),
      .guidance_scale = request.guidance_scale.value_or(core_.defaults.guidance_scale),
      .guidance_rescale = request.guidance_rescale.value_or(0),
      .draws_in_float32 = scheduler.float32_noise,
      .seeds = pipelines::image_seeds(request),
      .noise_dtype = request.noise_dtype};
  const bool guided = settings.do_classifier_free_guidance();
  pipelines::warn_of_no_effect(!guided && pipelines::has_text(request.negative_prompt), "negative_prompt",
                               "guidance_scale is not above 1");
  pipelines::warn_of_no_effect(!guided && settings.guidance_rescale > 0, "guidance_rescale",
                               "guidance_scale is not above 1");
  pipelines::warn_of_no_effect(request.eta != 0 && !scheduler.uses_eta, "eta", "it is DDIMScheduler's");
  return settings;
}

// Before an hour of computing, not in its middle.
void UNetPipeline::require_memory(const pipelines::Request& request, const Settings& settings) const {
  if (!core_.memory) return;
  const int64_t scale = core_.vae->config().scale_factor();
  const loading::RequestShape shape{
      .height = settings.latent_size.height * scale,
      .width = settings.latent_size.width * scale,
      .images = static_cast<int64_t>(settings.seeds.size()),
      .texts = std::max<int64_t>(1, static_cast<int64_t>(request.prompt.size())),
      .is_guided = settings.do_classifier_free_guidance(),
      .steps = settings.num_inference_steps};
  const auto all = [](const loading::ComponentNeed&) { return true; };
  const auto runs = [&](const loading::ComponentNeed& need) {
    if (need.name == "vae") return request.output_type == pipelines::OutputType::image;
    return need.name == "unet" || !request.prompt_embeds.defined();
  };
  core_.memory->require(shape, *core_.memory->needs_of(shape), runs, all, /*all_stay=*/true);
}

std::vector<loading::ComponentStay> UNetPipeline::stays() const {
  std::vector<loading::ComponentStay> list;
  std::vector<std::string> names = text_encoders();
  names.insert(names.end(), {"unet", "vae"});
  list.reserve(names.size());
  for (const std::string& name : names)
    list.push_back({.name = name, .stays = true, .loads = 1, .gone_for = {}});
  return list;
}

pipelines::Output UNetPipeline::generate(const pipelines::Request& request,
                                         const schedulers::SchedulerSpec& spec,
                                         const pipelines::StepObserver& observe) const {
  const Settings settings = settle(request, *schedulers::traits_of(spec.class_name));
  // First: a config that does not suit so many steps shows before anything is computed.
  const auto schedule =
      schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                {.num_inference_steps = settings.num_inference_steps, .eta = request.eta});
  require_memory(request, settings);
  const Conditions conditions = conditions_of(request, settings.do_classifier_free_guidance());
  loading::flush();
  const size_t end_step =
      pipelines::steps_until(request.denoising_end, schedule->timesteps(), spec.num_train_timesteps());
  const Tensor latents = denoise(conditions, settings, *schedule, end_step, observe);
  if (request.output_type == pipelines::OutputType::latent) return {.images = {}, .latents = latents};
  loading::flush();  // what the denoising kept is of other sizes than what the VAE needs
  return {.images = decode(latents), .latents = latents};
}

std::vector<io::Image> UNetPipeline::decode(const Tensor& latents) const {
  const auto& vae = *core_.vae;
  const pipelines::VaeImageProcessor processor(vae.config().scale_factor(), core_.policy);
  return processor.postprocess(vae.decode(vae.unscaled(latents)));
}

Tensor UNetPipeline::denoise(const Conditions& conditions, const Settings& settings,
                             schedulers::Schedule& schedule, size_t end_step,
                             const pipelines::StepObserver& observe) const {
  const auto& unet = *core_.unet;
  tensor::SeededNoise noise(
      settings.seeds, {unet.config().in_channels, settings.latent_size.height, settings.latent_size.width});
  // Noise is drawn on the CPU wherever the rest is computed, so that the picture is the same.
  const auto draw_in = [&](at::ScalarType dtype) { return tensor::send_to(noise.draw(dtype), core_.device); };
  const auto draw = [&] { return draw_in(settings.draws_in_float32 ? at::kFloat : settings.noise_dtype); };
  UNetDenoiser denoiser(unet, *core_.graphs, conditions.text, conditions.added);
  return pipelines::denoise(draw_in(settings.noise_dtype) * schedule.init_noise_sigma(),  // [B, C, h, w]
                            {.denoiser = denoiser,
                             .schedule = schedule,
                             .noise = draw,
                             .guidance = {.is_on = settings.do_classifier_free_guidance(),
                                          .scale = settings.guidance_scale,
                                          .rescale = settings.guidance_rescale},
                             .policy = core_.policy,
                             .observe = observe,
                             .end_step = end_step});
}

}  // namespace diffract::families
