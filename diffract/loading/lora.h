#pragma once
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/weights/low_rank.h"

namespace diffract::loading {

/// The low-rank additions to one component, from all LoRAs, in their order. Thread-safe.
class ComponentLora {
 public:
  /// `module` as the files' keys have it behind the component's prefix, with dots or underscores.
  void add(const std::string& module, weights::LowRank addition);

  /// The component's weights with the additions.
  static weights::TensorSourcePtr over(weights::TensorSourcePtr source,
                                       const std::shared_ptr<const ComponentLora>& lora);
  /// For a model that was built from over(): throws CheckpointError where it has none of a LoRA's modules,
  /// and warns once of modules that it has not, which are left out as in diffusers.
  void require_used(const std::string& component) const;

 private:
  const std::vector<weights::LowRank>* find(const std::string& module) const;

  std::unordered_map<std::string, std::vector<weights::LowRank>> additions_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> used_;
};

/// The LoRAs that a pipeline is loaded with, by component.
class LoraSet {
 public:
  LoraSet() = default;
  /// Opens and checks the files. Throws CheckpointError for one that is damaged, or whose keys are of no
  /// component of the family; UsageError for a family that takes none.
  LoraSet(const std::vector<LoraOption>& options, const FamilyFacts& facts, const io::ModelFolder& folder);

  /// To which something is added.
  std::set<std::string> components() const;
  /// Null where nothing is added to the component.
  std::shared_ptr<const ComponentLora> of(const std::string& component) const;

 private:
  std::unordered_map<std::string, std::shared_ptr<ComponentLora>> components_;
};

}  // namespace diffract::loading
