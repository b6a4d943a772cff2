#include "diffract/models/model_class.h"

#include "diffract/core/error.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/clip_text_model.h"
#include "diffract/models/flux_transformer_2d_model.h"
#include "diffract/models/t5_encoder_model.h"
#include "diffract/models/unet_2d_condition_model.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

template <typename Model, typename Config>
void build(const ConfigReader& config, const WeightScope& w) {
  const Model model(Config::from_json(config), w);
}

// Stable Diffusion XL's UNet is planned, not run: what it has beyond the other is an embedding of sizes and
// pooled text.
void build_unet(const ConfigReader& config, const WeightScope& w) {
  if (!config.has("addition_embed_type"))
    return build<UNet2DConditionModel, UNet2DConditionConfig>(config, w);
  config.unsupported_unless("addition_embed_type", "text_time");
  Json rest = config.json();
  rest.erase("addition_embed_type");
  const ConfigReader plain(std::move(rest), config.source());
  build<UNet2DConditionModel, UNet2DConditionConfig>(plain, w);
  const auto c = UNet2DConditionConfig::from_json(plain);
  const nn::TimestepEmbedding add_embedding(
      w / "add_embedding", config.integer("projection_class_embeddings_input_dim", 1, 1 << 20),
      c.time_embed_dim(), c.act_fn);
}

const std::vector<ModelClass>& model_classes() {
  static const std::vector<ModelClass> all = {
      {"AutoencoderKL",
       {"BasicTransformerBlock", "ResnetBlock2D"},
       {},
       build<AutoencoderKL, AutoencoderKLConfig>},
      {"CLIPTextModel", {"CLIPEncoderLayer", "CLIPTextEmbeddings"}, {}, build<CLIPTextModel, CLIPTextConfig>},
      {"FluxTransformer2DModel",
       {"FluxTransformerBlock", "FluxSingleTransformerBlock"},
       {"AdaLayerNormZero", "AdaLayerNormZeroSingle"},
       build<FluxTransformer2DModel, FluxTransformer2DConfig>},
      {"T5EncoderModel", {"T5Block"}, {}, build<T5EncoderModel, T5Config>},
      {"UNet2DConditionModel",
       {"BasicTransformerBlock", "ResnetBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"},
       {},
       build_unet},
  };
  return all;
}

// A whole model's config stands for its text encoder, as where transformers loads that from it.
std::string text_model_of(const std::string& name) {
  if (name == "CLIPModel") return "CLIPTextModel";
  if (name == "T5Model" || name == "T5ForConditionalGeneration") return "T5EncoderModel";
  return name;
}

}  // namespace

std::string class_name_of(const ConfigReader& config) {
  if (config.has("_class_name")) return config.text("_class_name");
  if (config.has("architectures"))
    if (const auto names = config.texts("architectures"); !names.empty()) return text_model_of(names.front());
  const std::string type = config.text("model_type", "");
  if (type == "t5") return "T5EncoderModel";
  if (type == "clip_text_model" || type == "clip") return "CLIPTextModel";
  throw CheckpointError("{}: names no class; expected \"_class_name\" or \"architectures\"", config.source());
}

bool is_model_class(const std::string& name) {
  for (const ModelClass& known : model_classes())
    if (known.name == name) return true;
  return false;
}

const ModelClass& find_model_class(const std::string& name, const std::string& source) {
  std::string names;
  for (const ModelClass& known : model_classes()) {
    if (known.name == name) return known;
    names += fmt::format(" {}", known.name);
  }
  throw CheckpointError("{}: the model is a {}; diffract builds:{}", source, name, names);
}

}  // namespace diffract::models
