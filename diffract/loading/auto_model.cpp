#include "diffract/loading/auto_model.h"

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/model_folder.h"
#include "diffract/io/model_identity.h"
#include "diffract/io/weight_files.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/load_component.h"
#include "diffract/loading/placement_plan.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/threads.h"

namespace diffract::loading {
namespace fs = std::filesystem;

AutoModel AutoModel::from_pretrained(const std::string& model, const ModelOptions& options) {
  tensor::keep_host_memory();
  tensor::take_chosen_threads();
  const fs::path whole = find_model(model);
  const fs::path folder = options.subfolder.empty() ? whole : whole / options.subfolder;
  std::string name = io::identify_model(whole).name;
  if (!options.subfolder.empty()) name += "/" + options.subfolder;
  const ConfigReader config = io::load_config(folder);
  const auto& model_class = models::find_model_class(models::class_name_of(config), config.source());
  const auto policy_on = [&](at::Device device) {
    return tensor::DtypePolicy::choose(options.torch_dtype, options.arithmetic, device);
  };
  return tensor::with_memory_errors([&] {
    const auto placed =
        PlacementPlan::plan({.device = options.device,
                             .device_map = options.device_map,
                             .max_memory = options.max_memory,
                             .offload_folder = options.offload_folder},
                            [&](at::Device computes) {
                              return lay_out_model(folder, /*facts=*/nullptr,
                                                   {.torch_dtype = options.torch_dtype,
                                                    .arithmetic = policy_on(computes).arithmetic,
                                                    .variant = options.variant});
                            });
    const auto policy = policy_on(placed.device());
    log::info("{}: {}", name, policy.describe());
    AutoModel loaded;
    loaded.class_ = &model_class;
    loaded.model_ = build_model(
        ModelSource{
            .name = name, .config = config, .weights = io::find_weight_files(folder, options.variant)},
        ModelSetting{.policy = policy,
                     .placement = placed.of(""),
                     .budgets = placed.budgets(),
                     .on_load = options.on_load},
        *model_class.build);
    loaded.map_ = placed.hf_device_map();
    return loaded;
  });
}

}  // namespace diffract::loading
