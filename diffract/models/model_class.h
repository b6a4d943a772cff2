#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::models {

/// What is known of a class of models beside its code.
struct ModelClass {
  const char* name;  // e.g. "FluxTransformer2DModel"
  /// Classes of blocks that stay whole on one device: the libraries' _no_split_modules.
  std::vector<std::string> no_split_modules;
  /// Classes of modules in blocks that are used once for many steps.
  std::vector<std::string> rare_modules;
  /// Builds the model that `config` describes and drops it: `weights` sees what it asks for.
  void (*build)(const ConfigReader& config, const weights::WeightScope& weights);
};

/// The class that a config.json names: diffusers' "_class_name", the first of transformers' "architectures",
/// or the one for its "model_type". Throws CheckpointError when it names none.
std::string class_name_of(const ConfigReader& config);

/// Throws CheckpointError naming `source` for a class that diffract does not build.
const ModelClass& find_model_class(const std::string& name, const std::string& source);
bool is_model_class(const std::string& name);

}  // namespace diffract::models
