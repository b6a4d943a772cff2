#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/loading/ip_adapter.h"
#include "diffract/loading/load_options.h"
#include "diffract/loading/lora.h"
#include "diffract/loading/placement_plan.h"
#include "diffract/loading/request_memory.h"
#include "diffract/loading/textual_inversion.h"
#include "diffract/models/model_class.h"
#include "diffract/schedulers/scheduler_spec.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::loading {

/// Where a model comes from.
struct ModelSource {
  std::string name;  // in messages
  ConfigReader config;
  io::WeightFiles weights;
};

/// How a model is loaded.
struct ModelSetting {
  tensor::DtypePolicy policy;
  weights::ModelPlacement placement = {};
  std::shared_ptr<const DeviceBudgets> budgets = {};  // hold as long as the model lives
  LoadObserver on_load = {};
  std::shared_ptr<const ComponentLora> lora = {};        // null: none
  std::shared_ptr<const ComponentTokens> tokens = {};    // null: none
  std::shared_ptr<const IpAdapterSet> ip_adapters = {};  // null: none
};

/// A model's checkpoint, opened.
struct OpenedWeights {
  std::shared_ptr<const weights::Checkpoint> checkpoint;
  weights::WeightScope root;
};
OpenedWeights open_weights(const ModelSource& source, const ModelSetting& setting);
/// Throws CheckpointError where the config's "quantization_config" holds for the weights; warns of one over
/// plain weights.
void check_quantization(const ModelSource& source, const weights::Checkpoint& checkpoint);
/// A model's weights with what the setting adds to them, and its config for that.
weights::TensorSourcePtr with_additions(const ModelSource& source, weights::TensorSourcePtr tensors,
                                        const ModelSetting& setting);
ConfigReader config_of(const ModelSource& source, const ModelSetting& setting);
/// Warns of tensors that no layer asked for.
void report_unused(const ModelSource& source, const weights::Checkpoint& checkpoint);
/// Builds a model from its config and its weights: models::ModelClass::build.
using BuildModel = std::shared_ptr<const void>(const ConfigReader& config, const weights::WeightScope& root);

/// A model that `build` builds; its budgets hold as long as it lives. Throws CheckpointError when the files
/// are damaged.
std::shared_ptr<const void> build_model(const ModelSource& source, const ModelSetting& setting,
                                        BuildModel& build);
template <typename Model>
std::shared_ptr<const Model> build_model(const ModelSource& source, const ModelSetting& setting) {
  return std::static_pointer_cast<const Model>(build_model(source, setting, models::build<Model>));
}

/// Builds the parts of a pipeline from its folder: config, weights, class checked against what the code
/// builds.
class ComponentLoader {
 public:
  /// `without`: components that the caller gives or leaves out, which need no place.
  ComponentLoader(io::ModelFolder folder, const FamilyFacts& facts, const LoadOptions& options,
                  const std::vector<std::string>& without = {});

  /// Throws CheckpointError when model_index.json names another class, or the files are damaged or missing.
  /// `tokens`: what a text encoder's vocabulary is grown by.
  template <typename Model>
  std::shared_ptr<const Model> model(const std::string& component,
                                     std::shared_ptr<const ComponentTokens> tokens = {}) const {
    const ModelSource from = source(component, Model::kClassName);
    ModelSetting how = setting(component);
    how.tokens = std::move(tokens);
    const auto model = build_model<Model>(from, how);
    folder_.open_files().close(from.weights.files);
    return model;
  }
  /// A component of one of these classes, which have a base in common.
  template <typename Base, typename... Models>
  std::shared_ptr<const Base> one_of(const std::string& component) const {
    require_class(component, {Models::kClassName...});
    std::shared_ptr<const Base> found;
    const std::string class_name = folder_.component_class(component);
    ((class_name == Models::kClassName ? void(found = model<Models>(component)) : void()), ...);
    return found;
  }
  /// The same checks without converting the weights or keeping the model, so that an error shows before the
  /// model's stage begins. The files stay open for it.
  template <typename Model>
  void check(const std::string& component) const {
    const ModelSource from = source(component, Model::kClassName);
    const ModelSetting how{
        .policy = policy_, .lora = lora_.of(component), .ip_adapters = ip_adapters_of(component)};
    const auto checkpoint = weights::Checkpoint::open(from.weights);
    check_quantization(from, *checkpoint);
    weights::Part part;  // only written down, never read
    models::build<Model>(
        config_of(from, how),
        weights::WeightScope(with_additions(from, checkpoint, how), policy_).recording(part));
    report_unused(from, *checkpoint);
    if (how.lora) how.lora->require_used(component);
  }

  /// What the options' textual inversions say for a text encoder of the family.
  std::vector<Inversion> inversions(std::string_view text_encoder) const {
    return read_inversions(options_.textual_inversion, facts_, text_encoder);
  }
  void require_class(const std::string& component, const std::vector<std::string>& class_names) const;
  schedulers::SchedulerSpec scheduler() const;
  const io::ModelFolder& folder() const { return folder_; }
  const FamilyFacts& facts() const { return facts_; }
  /// Whether the folder has the component, and nothing leaves it out.
  bool runs(const std::string& component) const;
  const LoadOptions& options() const { return options_; }
  /// True when a step of the component is the same work over the same memory each time, all on one GPU.
  bool may_record(const std::string& component) const;
  /// True where processes of the job share the models, which then stay: each has only its part in memory.
  bool over_ranks() const { return placements_.over_ranks(); }
  /// What requests to the pipeline take; null where processes share the models.
  std::shared_ptr<const RequestMemory> request_memory() const;
  /// Computes what belongs to no model: latents and the schedule.
  at::Device device() const { return placements_.device(); }
  const tensor::DtypePolicy& policy() const { return policy_; }
  const placement::DeviceMap& hf_device_map() const { return placements_.hf_device_map(); }

 private:
  std::shared_ptr<const IpAdapterSet> ip_adapters_of(const std::string& component) const {
    return component == facts_.denoiser ? ip_adapters_ : nullptr;
  }
  ModelSetting setting(const std::string& component) const;
  ModelSource source(const std::string& component, const std::string& class_name) const;

  io::ModelFolder folder_;
  const FamilyFacts& facts_;
  LoadOptions options_;
  std::vector<std::string> without_;
  PlacementPlan placements_;
  tensor::DtypePolicy policy_;
  LoraSet lora_;
  std::shared_ptr<const IpAdapterSet> ip_adapters_;  // of the denoiser
};

}  // namespace diffract::loading
