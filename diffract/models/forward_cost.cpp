#include "diffract/models/forward_cost.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/clip_text_model.h"
#include "diffract/models/flux_transformer_2d_model.h"
#include "diffract/models/model_class.h"
#include "diffract/models/t5_encoder_model.h"
#include "diffract/models/unet_2d_condition_model.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

const auto kMeta = at::TensorOptions(at::kFloat).device(at::kMeta);

at::Tensor meta(at::IntArrayRef shape) { return at::empty(shape, kMeta); }

// Ids have values that are checked, so they are real.
at::Tensor some_ids(const ForwardShape& s, int64_t most) {
  return at::zeros({s.batch, std::min(s.text_tokens, most)}, at::kLong);
}

struct Forward {
  std::function<void()> run;
  double rare_runs = 1;
};

Forward clip(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<CLIPTextModel>(CLIPTextConfig::from_json(config), w);
  return {[=] { (*model)(some_ids(s, model->config().max_position_embeddings)); }};
}

Forward t5(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<T5EncoderModel>(T5Config::from_json(config), w);
  return {[=] { (*model)(some_ids(s, s.text_tokens)); }};
}

Forward flux(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<FluxTransformer2DModel>(FluxTransformer2DConfig::from_json(config), w);
  const auto& c = model->config();
  const int64_t tokens = (s.height / (2 * s.vae_scale_factor)) * (s.width / (2 * s.vae_scale_factor));
  const int64_t at_once = FluxModulations::steps_at_once(*model, s.steps, s.batch);
  const auto run = [=] {
    const FluxTransformer2DModel::Conditioning cond{
        .prompt_embeds = meta({s.batch, s.text_tokens, c.joint_attention_dim}),
        .pooled_prompt_embeds = meta({s.batch, c.pooled_projection_dim}),
        .rope = meta({s.text_tokens + tokens, c.attention_head_dim / 2, 2}),
        .guidance = c.guidance_embeds ? meta({s.batch}) : at::Tensor()};
    // The modulations of the steps ahead are alive too; this step does not make them.
    const at::Tensor others = meta({at_once - 1, model->modulation_bytes(s.batch) / 4});
    const auto modulation = model->modulations(meta({1, s.batch}), cond).front();
    (*model)(meta({s.batch, tokens, c.in_channels}), modulation, cond);
  };
  const auto times = (std::max<int64_t>(s.steps, 1) + at_once - 1) / at_once;
  return {run, static_cast<double>(times) / static_cast<double>(std::max<int64_t>(s.steps, 1))};
}

Forward unet(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  Json rest = config.json();
  rest.erase("addition_embed_type");  // a vector more, in Stable Diffusion XL
  const auto c = UNet2DConditionConfig::from_json(ConfigReader(std::move(rest), config.source()));
  const auto model = std::make_shared<UNet2DConditionModel>(c, w);
  return {[=] {
    (*model)(meta({s.batch, c.in_channels, s.height / s.vae_scale_factor, s.width / s.vae_scale_factor}),
             500.0, meta({s.batch, s.text_tokens, c.cross_attention_dim.front()}));
  }};
}

Forward vae(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<AutoencoderKL>(AutoencoderKLConfig::from_json(config), w);
  const auto& c = model->config();
  return {[=] {
    model->decode(
        meta({s.batch, c.latent_channels, s.height / c.scale_factor(), s.width / c.scale_factor()}));
  }};
}

struct Known {
  const char* class_name;
  Forward (*build)(const ConfigReader&, const WeightScope&, const ForwardShape&);
};
constexpr Known kKnown[] = {{"AutoencoderKL", vae},
                            {"CLIPTextModel", clip},
                            {"FluxTransformer2DModel", flux},
                            {"T5EncoderModel", t5},
                            {"UNet2DConditionModel", unet}};

}  // namespace

Cost forward_cost(const ConfigReader& config, const ForwardShape& shape, const tensor::DtypePolicy& policy) {
  const std::string class_name = class_name_of(config);
  find_model_class(class_name, config.source());
  int64_t largest_weight = 0;  // elements
  const WeightScope w(weights::Checkpoint::make_meta([&](const std::string&, at::IntArrayRef sizes) {
                        largest_weight = std::max(largest_weight, c10::multiply_integers(sizes));
                      }),
                      {.storage = policy.arithmetic, .arithmetic = policy.arithmetic});
  for (const Known& known : kKnown) {
    if (class_name != known.class_name) continue;
    const Forward forward = known.build(config, w, shape);
    Cost cost = nn::measure_on_meta(forward.run);
    cost.rare_runs = forward.rare_runs;
    // A weight that is stored in another type is widened into a buffer of the largest one's size.
    if (policy.storage.value_or(at::kFloat) != policy.arithmetic)
      cost.peak_bytes += largest_weight * static_cast<int64_t>(c10::elementSize(policy.arithmetic));
    return cost;
  }
  throw InternalError("forward_cost: {} has no forward", class_name);
}

}  // namespace diffract::models
