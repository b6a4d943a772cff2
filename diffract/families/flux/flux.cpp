#include "diffract/families/flux/flux.h"

#include "diffract/core/error.h"
#include "diffract/core/trace.h"
#include "diffract/families/flux/flux_latents.h"
#include "diffract/families/shared/clip_text.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_copy.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/noise.h"

namespace diffract::families {
namespace {

constexpr int64_t kMostT5Tokens = 512;
constexpr float kTimestepsASigma = 1000;  // diffusers divides by it whatever the scheduler's config says

int64_t checked_sequence_length(int64_t length) {
  if (length < 1 || length > kMostT5Tokens)
    throw UsageError("max_sequence_length {}: expected 1 to {}", length, kMostT5Tokens);
  return length;
}

// [steps, batch], each step's flow time for the whole batch.
Tensor sigmas_of(const std::vector<double>& timesteps, int64_t batch) {
  std::vector<float> sigmas;
  sigmas.reserve(timesteps.size());
  for (const double timestep : timesteps) sigmas.push_back(static_cast<float>(timestep) / kTimestepsASigma);
  return at::tensor(sigmas).unsqueeze(1).repeat({1, batch});
}

// A walk's steps of the transformer.
class FluxDenoiser final : public pipelines::Denoiser {
 public:
  using Conditioning = models::FluxTransformer2DModel::Conditioning;
  // `sigmas` [steps, batch]
  FluxDenoiser(const models::FluxTransformer2DModel& transformer, kernels::StepGraphs& graphs,
               Conditioning cond, Tensor sigmas)
      : transformer_(transformer),
        graphs_(graphs),
        cond_(std::move(cond)),
        modulations_(transformer, std::move(sigmas), cond_) {}

  Tensor predict(const Tensor& input, size_t step, double) override {
    const auto modulation = modulations_[static_cast<int64_t>(step)];
    return graphs_.run(transformer_.tensors_of(input, modulation, cond_), transformer_);
  }

 private:
  const models::FluxTransformer2DModel& transformer_;
  kernels::StepGraphs& graphs_;
  Conditioning cond_;
  models::FluxModulations modulations_;
};

}  // namespace

pipelines::SchedulerRules FluxPipeline::scheduler_rules() const {
  return {.facts = kFlux, .try_out = [](const schedulers::SchedulerSpec& spec) {
            make_schedule(spec, {.steps = 2, .image_tokens = 256});
          }};
}

std::unique_ptr<schedulers::Schedule> FluxPipeline::make_schedule(const schedulers::SchedulerSpec& scheduler,
                                                                  const Walk& walk) {
  const int64_t steps = walk.steps;
  schedulers::ScheduleRequest request{.num_inference_steps = steps,
                                      .sigmas = {walk.sigmas.begin(), walk.sigmas.end()},
                                      .mu = shift_of(walk.image_tokens, scheduler)};
  // Solvers with use_flow_sigmas have levels of their own.
  const auto* traits = schedulers::traits_of(scheduler.class_name);
  const bool spaces_own = !traits || traits->path != schedulers::Path::flow;
  const double last = 1.0 / static_cast<double>(steps);  // from 1 down to it, evenly
  for (int64_t i = 0; walk.sigmas.empty() && !spaces_own && i < steps; ++i) {
    const double share = steps == 1 ? 0 : static_cast<double>(i) / static_cast<double>(steps - 1);
    request.sigmas.push_back(static_cast<float>(1.0 + share * (last - 1.0)));
  }
  return schedulers::make_schedule(scheduler.class_name, scheduler.config, scheduler.source, request);
}

loading::ImageSize FluxPipeline::image_size(const pipelines::Request& request) const {
  return size_of(request, defaults_.size, kFlux, vae_scale_factor_);
}

FluxPipeline::Settings FluxPipeline::settings_of(const pipelines::Request& request) const {
  const double true_cfg_scale = request.true_cfg_scale.value_or(1.0);
  const bool has_negative = !request.negative_prompt.empty() || request.negative_prompt_embeds.defined();
  pipelines::warn_of_no_effect(true_cfg_scale <= 1 && pipelines::has_text(request.negative_prompt),
                               "negative_prompt", "true_cfg_scale is not above 1");
  pipelines::warn_of_no_effect(true_cfg_scale > 1 && !has_negative, "true_cfg_scale",
                               "there is no negative_prompt (it may be empty)");
  return {.size = image_size(request),
          .num_inference_steps = pipelines::steps_of(request, defaults_.num_inference_steps),
          .sigmas = request.sigmas,
          .max_sequence_length = checked_sequence_length(request.max_sequence_length.value_or(kMostT5Tokens)),
          .guidance_scale = request.guidance_scale.value_or(defaults_.guidance_scale),
          .guidance_is_given = request.guidance_scale.has_value(),
          .true_cfg_scale = true_cfg_scale,
          .do_true_cfg = true_cfg_scale > 1 && has_negative,
          .seeds = pipelines::image_seeds(request),
          .noise_dtype = request.noise_dtype};
}

loading::RequestShape FluxPipeline::shape_of(const pipelines::Request& request, const Settings& settings) {
  const int64_t texts_each = settings.do_true_cfg ? 2 : 1;
  return {.height = settings.size.height,
          .width = settings.size.width,
          .images = static_cast<int64_t>(settings.seeds.size()),
          .texts = texts_each * std::max<int64_t>(1, static_cast<int64_t>(request.prompt.size())),
          .is_guided = settings.do_true_cfg,
          .steps = settings.num_inference_steps,
          .max_sequence_length =
              request.prompt_embeds.defined() ? request.prompt_embeds.size(1) : settings.max_sequence_length};
}

std::vector<Tensor> FluxPipeline::encode_clip(const std::vector<Texts>& all,
                                              const loading::RequestNeeds* needs) const {
  std::shared_ptr<const models::CLIPTextModel> encoder;  // none where all is known
  std::vector<Tensor> pooled;
  for (const auto& [texts, unused] : all) {
    const auto encode = [&, &texts = texts]() -> pipelines::TextCache::Made {
      if (!encoder) encoder = text_encoder_.load(needs);
      return {(*encoder)(clip_ids(*tokenizer_.load(), texts, encoder->config())).pooled};
    };
    pooled.push_back(texts_->get({.encoder = "text_encoder", .texts = texts}, encode).front());
  }
  return pooled;
}

std::vector<Tensor> FluxPipeline::encode_t5(const std::vector<Texts>& all, int64_t max_sequence_length,
                                            const loading::RequestNeeds* needs) const {
  std::shared_ptr<const models::T5EncoderModel> encoder;
  std::vector<Tensor> rows;
  for (const auto& [unused, texts] : all) {
    const auto encode = [&, &texts = texts]() -> pipelines::TextCache::Made {
      if (!encoder) encoder = text_encoder_2_.load(needs);
      return {(*encoder)(pipelines::token_batch(
          *tokenizer_2_.load(), texts,
          {.length = max_sequence_length, .vocab_size = encoder->config().vocab_size}))};
    };
    rows.push_back(
        texts_
            ->get({.encoder = "text_encoder_2", .texts = texts, .max_sequence_length = max_sequence_length},
                  encode)
            .front());
  }
  return rows;
}

FluxPipeline::PromptEmbeds FluxPipeline::encode_prompt(const std::vector<std::string>& prompt,
                                                       const EncodeOptions& options) const {
  if (prompt.empty()) throw UsageError("prompt: none given");
  // Of the default size, as long as nothing is known of the pictures.
  const auto needs =
      kept_->needs_of({.height = defaults_.size.height,
                       .width = defaults_.size.width,
                       .images = 1,
                       .texts = static_cast<int64_t>(prompt.size()),
                       .is_guided = false,
                       .steps = defaults_.num_inference_steps,
                       .max_sequence_length = checked_sequence_length(options.max_sequence_length)});
  const Texts texts{.prompt = prompt, .prompt_2 = pipelines::or_else(options.prompt_2, prompt)};
  return tensor::with_memory_errors([&] {
    return encode({texts}, options.num_images_per_prompt, options.max_sequence_length, needs.get()).front();
  });
}

std::vector<FluxPipeline::PromptEmbeds> FluxPipeline::encode(const std::vector<Texts>& all,
                                                             int64_t num_images_per_prompt,
                                                             int64_t max_sequence_length,
                                                             const loading::RequestNeeds* needs) const {
  const c10::InferenceMode no_autograd;
  const int64_t length = checked_sequence_length(max_sequence_length);
  // One encoder after the other: where memory is short, each is gone before the next is loaded.
  const auto pooled = kept_->with_room("text_encoder", [&] { return encode_clip(all, needs); });
  const auto rows = kept_->with_room("text_encoder_2", [&] { return encode_t5(all, length, needs); });
  std::vector<PromptEmbeds> embeds;
  for (size_t i = 0; i < all.size(); ++i)  // one row an image
    embeds.push_back({.prompt_embeds = rows[i].repeat_interleave(num_images_per_prompt, 0),
                      .pooled_prompt_embeds = pooled[i].repeat_interleave(num_images_per_prompt, 0),
                      .text_ids = at::zeros({length, 3})});
  return embeds;
}

FluxPipeline::Prompts FluxPipeline::prompts_of(const pipelines::Request& request, const Settings& settings,
                                               const loading::RequestNeeds* needs) const {
  const auto given = [](const Tensor& embeds, const Tensor& pooled) -> PromptEmbeds {
    return {
        .prompt_embeds = embeds, .pooled_prompt_embeds = pooled, .text_ids = at::zeros({embeds.size(1), 3})};
  };
  if (request.prompt_embeds.defined())
    return {.positive = given(request.prompt_embeds, request.pooled_prompt_embeds),
            .negative = settings.do_true_cfg
                            ? given(request.negative_prompt_embeds, request.negative_pooled_prompt_embeds)
                            : PromptEmbeds{}};
  // Both go through an encoder in its one stage, so that it is loaded once; not as one batch, as the negative
  // texts of a job's pictures are often the same.
  std::vector<Texts> all = {
      {.prompt = request.prompt, .prompt_2 = pipelines::or_else(request.prompt_2, request.prompt)}};
  if (settings.do_true_cfg) {
    const auto negative = pipelines::one_for_each_prompt(request.negative_prompt, request.prompt.size(), "");
    all.push_back({.prompt = negative, .prompt_2 = negative});
  }
  const auto embeds = encode(all, request.num_images_per_prompt, settings.max_sequence_length, needs);
  return {.positive = embeds.front(), .negative = settings.do_true_cfg ? embeds.back() : PromptEmbeds{}};
}

Tensor FluxPipeline::denoise(const Prompts& prompts, const Settings& settings, schedulers::Schedule& schedule,
                             const loading::RequestNeeds* needs,
                             const pipelines::StepObserver& observe) const {
  const auto recorded = transformer_.load(needs);
  const auto& transformer = recorded->model;
  const auto& config = transformer->config();
  const int64_t rows = settings.size.height / (2 * vae_scale_factor_),
                columns = settings.size.width / (2 * vae_scale_factor_);
  const auto batch = static_cast<int64_t>(settings.seeds.size());
  const bool guided = settings.do_true_cfg;
  const PromptEmbeds &positive = prompts.positive, &negative = prompts.negative;
  const models::FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = guided ? pipelines::negative_and_positive(negative.prompt_embeds,
                                                                 positive.prompt_embeds, "prompt_embeds")
                              : positive.prompt_embeds,
      .pooled_prompt_embeds =
          guided ? pipelines::negative_and_positive(negative.pooled_prompt_embeds,
                                                    positive.pooled_prompt_embeds, "pooled_prompt_embeds")
                 : positive.pooled_prompt_embeds,
      .rope = transformer->rotary(positive.text_ids, latent_image_ids(rows, columns)),
      .guidance =
          config.guidance_embeds
              ? tensor::send_to(at::full({guided ? 2 * batch : batch}, settings.guidance_scale), device_)
              : Tensor()};
  pipelines::warn_of_no_effect(settings.guidance_is_given && !config.guidance_embeds, "guidance_scale",
                               "this model was made without guidance");
  tensor::SeededNoise noise(settings.seeds, {config.in_channels / 4, 2 * rows, 2 * columns});

  // Noise is drawn on the CPU wherever the rest is computed, so that the picture is the same.
  const auto draw = [&] { return tensor::send_to(pack_latents(noise.draw(settings.noise_dtype)), device_); };
  FluxDenoiser denoiser(
      *transformer, recorded->graphs, cond,
      tensor::send_to(sigmas_of(schedule.timesteps(), guided ? 2 * batch : batch), device_));
  return pipelines::denoise({.noise = draw()},  // [B, I, C]
                            {.denoiser = denoiser,
                             .schedule = schedule,
                             .noise = draw,
                             .guidance = {.is_on = guided, .scale = settings.true_cfg_scale},
                             .policy = policy_,
                             .observe = observe});
}

pipelines::ArrivingImages FluxPipeline::decode(const Tensor& latents, const Settings& settings,
                                               const loading::RequestNeeds* needs) const {
  const auto vae = vae_.load(needs);
  const auto& config = vae->config();
  const Tensor unpacked = unpack_latents(latents, settings.size, vae_scale_factor_);
  const trace::Span span("compute", "decode");
  const Tensor pixels = vae->decode(unpacked / config.scaling_factor + config.shift_factor);
  return pipelines::VaeImageProcessor(vae_scale_factor_, policy_).begin_postprocess(pixels);
}

pipelines::Output FluxPipeline::generate(const pipelines::Request& request,
                                         const schedulers::SchedulerSpec& scheduler,
                                         const pipelines::StepObserver& observe) const {
  const Settings settings = settings_of(request);
  // First: a schedule that cannot be walked shows before anything is computed.
  const int64_t token = 2 * vae_scale_factor_;
  const auto schedule = make_schedule(
      scheduler, {.steps = settings.num_inference_steps,
                  .image_tokens = (settings.size.height / token) * (settings.size.width / token),
                  .sigmas = settings.sigmas});
  const loading::RequestShape shape = shape_of(request, settings);
  const auto needs = kept_->needs_of(shape);
  const bool encodes = !request.prompt_embeds.defined(),
             decodes = request.output_type == pipelines::OutputType::image;
  if (needs)
    kept_->require(shape, *needs, [&](const loading::ComponentNeed& need) {
      return need.name == "transformer" || (need.name == "vae" ? decodes : encodes);
    });
  const Prompts prompts = prompts_of(request, settings, needs.get());
  const Tensor latents = kept_->with_room(
      "transformer", [&] { return denoise(prompts, settings, *schedule, needs.get(), observe); });
  if (!decodes) return {.images = {}, .latents = latents};
  return {.images = {}, .latents = latents, .arriving = kept_->with_room("vae", [&] {
            return decode(latents, settings, needs.get());
          })};
}

}  // namespace diffract::families
