#include "diffract/pipelines/auto_model.h"

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/weight_files.h"
#include "diffract/models/model_class.h"
#include "diffract/pipelines/load_component.h"
#include "diffract/pipelines/model_placements.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/threads.h"

namespace diffract::pipelines {
namespace fs = std::filesystem;

struct ModelPlace {
  std::string class_name;
  fs::path folder;
  std::string name;  // in logs and messages
};

template <typename Model, typename Config>
AutoModel load_auto_model(const ModelPlace& place, const ModelOptions& options) {
  const fs::path& folder = place.folder;
  const auto policy_on = [&](at::Device device) {
    return tensor::DtypePolicy::choose(options.torch_dtype, options.arithmetic, device);
  };
  const auto placed =
      ModelPlacements::plan({.device = options.device,
                             .device_map = options.device_map,
                             .max_memory = options.max_memory,
                             .offload_folder = options.offload_folder},
                            [&](at::Device computes) {
                              return lay_out_model(folder, {.torch_dtype = options.torch_dtype,
                                                            .arithmetic = policy_on(computes).arithmetic,
                                                            .variant = options.variant});
                            });
  const auto policy = policy_on(placed.device());
  log::info("{}: {}", place.name, policy.describe());
  AutoModel loaded;
  loaded.class_name_ = place.class_name;
  loaded.model_ = build_model<Model, Config>({.name = place.name,
                                              .config = load_config(folder),
                                              .weights = io::find_weight_files(folder, options.variant)},
                                             {.policy = policy,
                                              .placement = placed.of(""),
                                              .budgets = placed.budgets(),
                                              .on_load = options.on_load});
  loaded.map_ = placed.hf_device_map();
  return loaded;
}

namespace {

struct Known {
  const char* class_name;
  AutoModel (*load)(const ModelPlace&, const ModelOptions&);
};
constexpr Known kKnown[] = {
    {"AutoencoderKL", load_auto_model<models::AutoencoderKL, models::AutoencoderKLConfig>},
    {"CLIPTextModel", load_auto_model<models::CLIPTextModel, models::CLIPTextConfig>},
    {"FluxTransformer2DModel",
     load_auto_model<models::FluxTransformer2DModel, models::FluxTransformer2DConfig>},
    {"T5EncoderModel", load_auto_model<models::T5EncoderModel, models::T5Config>},
    {"UNet2DConditionModel", load_auto_model<models::UNet2DConditionModel, models::UNet2DConditionConfig>},
};

}  // namespace

AutoModel AutoModel::from_pretrained(const std::string& model, const ModelOptions& options) {
  tensor::keep_host_memory();
  tensor::settle_threads();
  const fs::path whole = find_model(model);
  const fs::path folder = options.subfolder.empty() ? whole : whole / options.subfolder;
  std::string name = io::identify_model(whole).name;
  if (!options.subfolder.empty()) name += "/" + options.subfolder;
  const std::string class_name = models::class_name_of(load_config(folder));
  for (const Known& known : kKnown)
    if (class_name == known.class_name)
      return tensor::with_memory_errors([&] { return known.load({class_name, folder, name}, options); });
  std::string names;
  for (const Known& known : kKnown) names += fmt::format(" {}", known.class_name);
  throw CheckpointError("{}: the model is a {}; diffract builds:{}", (folder / "config.json").string(),
                        class_name, names);
}

void flush_host() {
  weights::release_scratch();
  weights::release_streams();
  tensor::release_host_memory();
}

void flush() {
  flush_host();
  for (auto* backend : tensor::loaded_backends()) backend->empty_cache();
}

}  // namespace diffract::pipelines
