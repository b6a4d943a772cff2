#include "diffract/pipelines/auto_model.h"

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/weight_files.h"
#include "diffract/pipelines/load_component.h"
#include "diffract/tensor/host_memory.h"

namespace diffract::pipelines {
namespace fs = std::filesystem;

template <typename Model, typename Config>
AutoModel load_auto_model(const std::string& class_name, const fs::path& folder,
                          const ModelOptions& options) {
  const auto policy = tensor::DtypePolicy::choose(options.torch_dtype, options.arithmetic, options.device);
  log::info("{}: {}", folder.filename().string(), policy.describe());
  AutoModel loaded;
  loaded.class_name_ = class_name;
  loaded.model_ = build_model<Model, Config>({.name = folder.filename().string(),
                                              .config = load_config(folder),
                                              .weights = io::find_weight_files(folder, options.variant)},
                                             {.policy = policy, .placement = {.device = options.device}});
  return loaded;
}

namespace {

struct Known {
  const char* class_name;
  AutoModel (*load)(const std::string&, const fs::path&, const ModelOptions&);
};
constexpr Known kKnown[] = {
    {"AutoencoderKL", load_auto_model<models::AutoencoderKL, models::AutoencoderKLConfig>},
    {"CLIPTextModel", load_auto_model<models::CLIPTextModel, models::CLIPTextConfig>},
    {"FluxTransformer2DModel",
     load_auto_model<models::FluxTransformer2DModel, models::FluxTransformer2DConfig>},
    {"T5EncoderModel", load_auto_model<models::T5EncoderModel, models::T5Config>},
    {"UNet2DConditionModel", load_auto_model<models::UNet2DConditionModel, models::UNet2DConditionConfig>},
};

// diffusers writes _class_name, transformers a list of architectures.
std::string class_of(const ConfigReader& config) {
  if (config.has("_class_name")) return config.text("_class_name");
  const auto architectures =
      config.has("architectures") ? config.texts("architectures") : std::vector<std::string>();
  if (architectures.empty())
    throw CheckpointError("{}: names no class; expected \"_class_name\" or \"architectures\"",
                          config.source());
  return architectures.front();
}

}  // namespace

AutoModel AutoModel::from_pretrained(const std::string& model, const ModelOptions& options) {
  tensor::keep_host_memory();
  const fs::path folder =
      options.subfolder.empty() ? find_model(model) : find_model(model) / options.subfolder;
  const std::string class_name = class_of(load_config(folder));
  for (const Known& known : kKnown)
    if (class_name == known.class_name) return known.load(class_name, folder, options);
  std::string names;
  for (const Known& known : kKnown) names += fmt::format(" {}", known.class_name);
  throw CheckpointError("{}: the model is a {}; diffract builds:{}", (folder / "config.json").string(),
                        class_name, names);
}

void flush() {
  weights::release_scratch();
  tensor::release_host_memory();
}

}  // namespace diffract::pipelines
