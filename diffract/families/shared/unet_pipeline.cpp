#include "diffract/families/shared/unet_pipeline.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/trace.h"
#include "diffract/loading/auto_model.h"
#include "diffract/loading/controlnet.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/loading/model_defaults.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/models/vae/autoencoder_tiny.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/pipelines/task_class.h"
#include "diffract/tensor/device_copy.h"
#include "diffract/tensor/noise.h"

namespace diffract::families {
namespace {

constexpr int64_t kTrialSteps = 4;  // the fewest that every scheduler takes
constexpr size_t kMostGraphs = 4;   // shapes of pictures and batches that come in turn

void require(bool fits, const std::string& problem) {
  if (!fits) throw CheckpointError("{}. The folder mixes parts of different models", problem);
}

// Null: the pipeline's own is used.
std::shared_ptr<const models::Autoencoder> load_preview_vae(const loading::ComponentLoader& load,
                                                            const models::Autoencoder& vae) {
  const auto& options = load.options();
  if (options.preview_vae.empty()) return nullptr;
  const auto model = loading::AutoModel::from_pretrained(
      options.preview_vae,
      {.torch_dtype = options.torch_dtype, .arithmetic = load.policy().arithmetic, .device = load.device()});
  std::shared_ptr<const models::Autoencoder> found;
  if (model.class_name() == models::AutoencoderTiny::kClassName)
    found = model.as<models::AutoencoderTiny>();
  else
    found = model.as<models::AutoencoderKL>();
  if (found->latent_channels() != vae.latent_channels())
    throw UsageError("preview_vae {}: is for latents of {} channels; this model's have {}",
                     options.preview_vae, found->latent_channels(), vae.latent_channels());
  return found;
}

}  // namespace

UNetPipeline::UNetPipeline(const loading::FamilyFacts& facts, Core core, int64_t text_width,
                           const char* text_source)
    : facts_(facts), core_(std::move(core)) {
  const auto& unet = core_.unet->config();
  const int64_t latent_channels = core_.vae->latent_channels();
  for (const int64_t width : unet.cross_attention_dim)
    require(width == text_width,
            fmt::format("unet: \"cross_attention_dim\" is {}, but {} is {}", width, text_source, text_width));
  if (unet.in_channels != latent_channels && !task_models().reads_mask())
    throw CheckpointError(
        "unet: \"in_channels\" is {}, but vae: \"latent_channels\" is {}; expected as many, or {} of an "
        "inpainting checkpoint. Others, as of InstructPix2Pix, depth and upscaling, are not run yet",
        unet.in_channels, latent_channels, 2 * latent_channels + 1);
  require(unet.out_channels == latent_channels,
          fmt::format("unet: \"out_channels\" is {}, but vae: \"latent_channels\" is {}", unet.out_channels,
                      latent_channels));
  for (size_t i = 0; i < core_.controlnets.size(); ++i)
    check_controlnet(core_.controlnets[i]->config(), loading::controlnet_name(i));
}

// Before a hint or a residual is added to features of another shape.
void UNetPipeline::check_controlnet(const models::ControlNetConfig& net, const std::string& name) const {
  const auto& unet = core_.unet->config();
  const auto check = [&](const char* key, const auto& found, const auto& wanted, const char* of) {
    if (found != wanted)
      throw CheckpointError(
          "{}: \"{}\" is {}, but {} is {}. The ControlNet was made for another model: those of Stable "
          "Diffusion 1.x, 2.x and XL do not fit each other",
          name, key, Json(found).dump(), of, Json(wanted).dump());
  };
  const auto& encoder = net.encoder;
  check("cross_attention_dim", encoder.cross_attention_dim, unet.cross_attention_dim, "the UNet's");
  check("block_out_channels", encoder.block_out_channels, unet.block_out_channels, "the UNet's");
  check("layers_per_block", encoder.layers_per_block, unet.layers_per_block, "the UNet's");
  const auto& vae = *core_.vae;
  check("in_channels", encoder.in_channels, vae.latent_channels(), "the VAE's \"latent_channels\"");
  check("conditioning_embedding_out_channels (pixels a latent)", net.scale_factor(), vae.scale_factor(),
        "the VAE's");
  if (!encoder.text_time) return;
  const auto width = [](const auto& config) {
    return config.text_time ? config.text_time->projection_class_embeddings_input_dim : 0;
  };
  check("projection_class_embeddings_input_dim", width(encoder), width(unet), "the UNet's");
}

schedulers::SchedulerSpec UNetPipeline::first_scheduler(const loading::ComponentLoader& load,
                                                        schedulers::SchedulerSpec of_checkpoint,
                                                        const loading::LoadOptions& options) {
  return pipelines::first_scheduler(std::move(of_checkpoint), options, rules(load.facts()));
}

UNetPipeline::Core UNetPipeline::load_core(const loading::ComponentLoader& load,
                                           schedulers::SchedulerSpec scheduler) {
  std::vector<std::shared_ptr<const models::ControlNetModel>> controlnets;
  bool may_record = load.may_record("unet");
  for (const std::string& name : loading::controlnet_names(load.folder())) {
    controlnets.push_back(load.model<models::ControlNetModel>(name));
    may_record = may_record && load.may_record(name);
  }
  Core core{.unet = load.model<models::UNet2DConditionModel>("unet"),
            .vae = load.one_of<models::Autoencoder, models::AutoencoderKL, models::AutoencoderTiny>("vae"),
            .controlnets = std::move(controlnets),
            .safety_check = SafetyCheck::load(load),
            .scheduler = std::move(scheduler),
            .device = load.device(),
            .policy = load.policy(),
            .map = load.hf_device_map(),
            .graphs = std::make_shared<kernels::StepGraphs>(may_record ? kMostGraphs : 0),
            .texts = std::make_shared<pipelines::TextCache>(
                load.over_ranks() ? 0 : pipelines::TextCache::kMostBytes),
            .memory = load.request_memory()};
  core.preview_vae = load_preview_vae(load, *core.vae);
  const auto& unet = core.unet->config();
  core.image_prompt = ImagePrompt::load(load, unet);
  const int64_t scale = core.vae->scale_factor();
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
  return pipelines::computed_size(request, core_.defaults.size, facts_, core_.vae->scale_factor());
}

double UNetPipeline::guidance_scale_of(const pipelines::Request& request) const {
  const auto task = pipelines::task_class_of(request, facts_);
  return request.guidance_scale.value_or(task.guidance_scale.value_or(core_.defaults.guidance_scale));
}

UNetPipeline::Settings UNetPipeline::settings_of(const pipelines::Request& request,
                                                 const schedulers::SchedulerTraits& scheduler) const {
  Settings settings{.size = image_size(request),
                    .num_inference_steps = pipelines::steps_of(request, core_.defaults.num_inference_steps),
                    .guidance_scale = guidance_scale_of(request),
                    .guidance_rescale = request.guidance_rescale.value_or(0),
                    .is_guided_by_model = core_.unet->config().time_cond_proj_dim > 0,
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

loading::RequestShape UNetPipeline::shape_of(const pipelines::Request& request) const {
  const loading::ImageSize size = image_size(request);
  return {.height = size.height,
          .width = size.width,
          .images = static_cast<int64_t>(request.image_count()),
          .texts = std::max<int64_t>(1, static_cast<int64_t>(request.prompt.size())),
          .is_guided = guidance_scale_of(request) > 1 && core_.unet->config().time_cond_proj_dim == 0,
          .steps = request.steps().value_or(core_.defaults.num_inference_steps),
          .encodes_pictures = !request.image.empty() && !request.image[0].is_latents(),
          .prompt_pictures = std::max<int64_t>(1, static_cast<int64_t>(request.ip_adapter_image.size()))};
}

std::shared_ptr<const loading::RequestNeeds> UNetPipeline::needs_of(const pipelines::Request& request) const {
  return core_.memory ? core_.memory->needs_of(shape_of(request)) : nullptr;
}

// Before an hour of computing, not in its middle.
void UNetPipeline::require_memory(const pipelines::Request& request) const {
  if (!core_.memory) return;
  const loading::RequestShape shape = shape_of(request);
  const auto all = [](const loading::ComponentNeed&) { return true; };
  const auto runs = [&](const loading::ComponentNeed& need) {
    const bool makes_images = request.output_type == pipelines::OutputType::image;
    if (need.name == "unet") return true;
    if (need.name == "vae") return shape.encodes_pictures || makes_images;
    if (need.name == "safety_checker") return makes_images;
    if (need.name == loading::kImageEncoder) return !request.ip_adapter_image.empty();
    const auto nets = controlnet_names();
    if (std::find(nets.begin(), nets.end(), need.name) != nets.end()) return !request.control_image.empty();
    return !request.prompt_embeds.defined();
  };
  core_.memory->require(shape, *core_.memory->needs_of(shape), runs, all, /*all_stay=*/true);
}

std::vector<loading::ComponentStay> UNetPipeline::stays() const {
  std::vector<loading::ComponentStay> list;
  std::vector<std::string> names = text_encoders();
  if (core_.image_prompt) names.emplace_back(loading::kImageEncoder);
  names.insert(names.end(), {"unet", "vae"});
  if (core_.safety_check) names.emplace_back("safety_checker");
  for (std::string& name : controlnet_names()) names.push_back(std::move(name));
  list.reserve(names.size());
  for (const std::string& name : names)
    list.push_back({.name = name, .stays = true, .loads = 1, .gone_for = {}});
  return list;
}

std::vector<std::string> UNetPipeline::controlnet_names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < core_.controlnets.size(); ++i) names.push_back(loading::controlnet_name(i));
  return names;
}

void UNetPipeline::check_control(const pipelines::Request& request, const loading::TaskClass& task) const {
  if (task.is_controlled && core_.controlnets.empty())
    throw UsageError(
        "control_image: no ControlNet was loaded that would follow it; give one with --controlnet");
  if (!task.is_controlled && !core_.controlnets.empty() && request.pipeline.empty())
    throw UsageError(
        "control_image: {} loaded, and there is no picture to follow; give one for each with --control-image",
        core_.controlnets.size() == 1 ? "a ControlNet was"
                                      : fmt::format("{} ControlNets were", core_.controlnets.size()));
}

UNetPipeline::Inputs UNetPipeline::read_inputs(const pipelines::Request& request,
                                               const Settings& settings) const {
  Inputs inputs{.task = pipelines::read_task_inputs(request, facts_, settings.size),
                .control = {},
                .strengths = {},
                .guess_mode = request.guess_mode};
  pipelines::check_denoiser(inputs.task, task_models());
  const auto& task = inputs.task.task;
  check_control(request, task);
  if (!task.is_controlled) return inputs;
  inputs.strengths = pipelines::control_strengths(request, task, core_.controlnets.size());
  inputs.control =
      pipelines::read_control_pictures(request, inputs.task, settings.size, core_.controlnets.size());
  return inputs;
}

pipelines::Output UNetPipeline::generate(const pipelines::Request& request,
                                         const schedulers::SchedulerSpec& spec,
                                         const pipelines::StepObserver& observe) const {
  const Settings settings = settings_of(request, *schedulers::traits_of(spec.class_name));
  ImagePrompt::check(request, core_.unet->config().ip_adapters.size());
  const Inputs all_inputs = read_inputs(request, settings);
  const pipelines::TaskInputs& inputs = all_inputs.task;
  // First: a config that does not suit so many steps shows before anything is computed.
  const auto schedule = schedulers::make_schedule(spec.class_name, spec.config, spec.source,
                                                  {.num_inference_steps = settings.num_inference_steps,
                                                   .eta = request.eta,
                                                   .timesteps = request.timesteps,
                                                   .sigmas = {request.sigmas.begin(), request.sigmas.end()}});
  // A schedule of one's own may have one step less than numbers.
  const size_t evaluations = schedule->timesteps().size(), order = schedule->order();
  const bool is_own = !request.timesteps.empty() || !request.sigmas.empty();
  const auto steps =
      is_own ? static_cast<int64_t>((evaluations + order - 1) / order) : settings.num_inference_steps;
  pipelines::begin_walk(*schedule, inputs, steps, spec.num_train_timesteps());
  require_memory(request);
  Conditions conditions = conditions_of(request, settings.do_classifier_free_guidance());
  if (core_.image_prompt)
    conditions.images = core_.image_prompt->tokens_of(
        request, *core_.unet, settings.do_classifier_free_guidance(), *core_.texts, core_.device);
  loading::flush_host();
  const size_t end_step =
      pipelines::steps_until(request.denoising_end, schedule->timesteps(), spec.num_train_timesteps());
  const Tensor latents = denoise(conditions, all_inputs, settings, *schedule, end_step, observe);
  if (request.output_type == pipelines::OutputType::latent) return {.images = {}, .latents = latents};
  loading::flush_host();  // what the denoising kept is of other sizes than what the VAE needs
  return images_of(latents, inputs);
}

pipelines::Output UNetPipeline::images_of(const Tensor& latents, const pipelines::TaskInputs& inputs) const {
  pipelines::Output output{.images = {}, .latents = latents, .arriving = decode(latents, *core_.vae)};
  if (core_.safety_check) {  // it looks at finished pictures, so that these are waited for
    auto images = output.arriving();
    output.nsfw_content_detected = core_.safety_check->hold_back(images, core_.device);
    output.arriving = pipelines::arrived(std::move(images));
  }
  if (inputs.wholes.empty()) return output;
  const auto into = std::make_shared<const pipelines::TaskInputs>(
      pipelines::TaskInputs{.task = inputs.task, .of_image = inputs.of_image, .wholes = inputs.wholes});
  output.arriving = [into, arriving = std::move(output.arriving)] { return into->finished(arriving()); };
  return output;
}

std::vector<io::Image> UNetPipeline::preview(const Tensor& latents) const {
  const c10::InferenceMode no_autograd;
  auto images = decode(latents, core_.preview_vae ? *core_.preview_vae : *core_.vae)();
  if (core_.safety_check) core_.safety_check->hold_back(images, core_.device);
  return images;
}

pipelines::ArrivingImages UNetPipeline::decode(const Tensor& latents, const models::Autoencoder& vae) const {
  const trace::Span span("compute", "decode");
  const pipelines::VaeImageProcessor processor(vae.scale_factor(), core_.policy);
  return processor.begin_postprocess(vae.decode(vae.unscaled(latents)));
}

pipelines::TaskModels UNetPipeline::task_models() const {
  const auto& vae = *core_.vae;
  return {.encode = [&vae](const Tensor& pixels) { return vae.encode(pixels); },
          .scaled = [&vae](const Tensor& latents) { return vae.scaled(latents); },
          .scaling_factor = vae.scaling_factor(),
          .vae_scale_factor = vae.scale_factor(),
          .latent_channels = vae.latent_channels(),
          .encodes_to_distribution = vae.encodes_to_distribution(),
          .denoiser_channels = core_.unet->config().in_channels,
          .device = core_.device};
}

Tensor UNetPipeline::denoise(const Conditions& conditions, const Inputs& inputs, const Settings& settings,
                             schedulers::Schedule& schedule, size_t end_step,
                             const pipelines::StepObserver& observe) const {
  const pipelines::TaskModels models = task_models();
  const int64_t scale = models.vae_scale_factor;
  tensor::SeededNoise noise(
      settings.seeds, {models.latent_channels, settings.size.height / scale, settings.size.width / scale});
  // Noise is drawn on the CPU wherever the rest is computed, so that the picture is the same.
  const auto draw_in = [&](at::ScalarType dtype) { return tensor::send_to(noise.draw(dtype), core_.device); };
  const auto draw = [&] { return draw_in(settings.draws_in_float32 ? at::kFloat : settings.noise_dtype); };
  const pipelines::Task task =
      pipelines::make_task(inputs.task, models, [&] { return draw_in(settings.noise_dtype); });
  const bool guided = settings.do_classifier_free_guidance();
  UNetDenoiser denoiser(
      {.unet = *core_.unet, .graphs = *core_.graphs}, conditions,
      make_control(core_.controlnets, inputs.control, inputs.strengths, conditions, inputs.guess_mode, guided,
                   core_.device),
      {.begin = schedule.begin(), .end = schedule.timesteps().size(), .guidance = settings.guidance_scale});
  return pipelines::denoise(
      task,  // [B, C, h, w]
      {.denoiser = denoiser,
       .schedule = schedule,
       .noise = draw,
       .guidance = {.is_on = guided, .scale = settings.guidance_scale, .rescale = settings.guidance_rescale},
       .policy = core_.policy,
       .observe = observe,
       .end_step = end_step});
}

}  // namespace diffract::families
