#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::pipelines {

/// Builds the parts of a pipeline from its folder: config, weights, class checked against what the code
/// builds.
class ComponentLoader {
 public:
  ComponentLoader(const io::ModelFolder& folder, std::string variant, const tensor::DtypePolicy& policy)
      : folder_(folder), variant_(std::move(variant)), policy_(policy) {}

  /// A model built as `Model(Config::from_json(config), weights)`. Throws CheckpointError when
  /// model_index.json names another class, or the files are damaged or missing.
  template <typename Model, typename Config>
  std::shared_ptr<const Model> model(const std::string& component, const std::string& class_name) const {
    require_class(component, {class_name});
    const auto checkpoint = open(component);
    auto built = std::make_shared<const Model>(Config::from_json(folder_.config(component)),
                                               weights::WeightScope(checkpoint, policy_));
    report_unused(component, *checkpoint);
    return built;
  }

  void require_class(const std::string& component, const std::vector<std::string>& class_names) const;
  SchedulerSpec scheduler() const;

 private:
  std::shared_ptr<const weights::Checkpoint> open(const std::string& component) const;
  static void report_unused(const std::string& component, const weights::Checkpoint& checkpoint);

  const io::ModelFolder& folder_;
  std::string variant_;
  tensor::DtypePolicy policy_;
};

}  // namespace diffract::pipelines
