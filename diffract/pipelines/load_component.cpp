#include "diffract/pipelines/load_component.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::pipelines {

void ComponentLoader::require_class(const std::string& component,
                                    const std::vector<std::string>& class_names) const {
  const std::string found = folder_.component_class(component);
  if (std::find(class_names.begin(), class_names.end(), found) == class_names.end())
    throw CheckpointError("{}: component \"{}\" is a {}; expected {}",
                          (folder_.path() / "model_index.json").string(), component,
                          found.empty() ? "null" : found, class_names.front());
}

SchedulerSpec ComponentLoader::scheduler() const {
  const ConfigReader config = folder_.config("scheduler");
  return {
      .class_name = folder_.component_class("scheduler"), .config = config.json(), .source = config.source()};
}

std::shared_ptr<const weights::Checkpoint> ComponentLoader::open(const std::string& component) const {
  return weights::Checkpoint::open(folder_.component_weights(component, variant_));
}

void ComponentLoader::report_unused(const std::string& component, const weights::Checkpoint& checkpoint) {
  auto names = checkpoint.unused();
  // A table of 0, 1, 2, ... that older transformers saved with each text encoder.
  std::erase_if(names, [](const std::string& name) { return name.ends_with("position_ids"); });
  if (names.empty()) return;
  log::warning("{}: {} tensors are not part of the model and were left out, {} among them", component,
               names.size(), names.front());
}

}  // namespace diffract::pipelines
