#pragma once
#include <string>
#include <vector>

#include "diffract/io/model_folder.h"

namespace diffract::io {

// Files are named by their paths in the model's folder. Nothing is asked for of a component that no pipeline
// runs, such as a safety_checker.

/// Whether a picture needs a component of this name; and whether it is a model, with weights.
bool is_run(const std::string& component);
bool has_weights(const std::string& component);

/// The configs that model_index.json implies and the folder lacks; what a plan or a look at the model needs.
std::vector<std::string> missing_configs(const ModelFolder& model);

/// All that the folder lacks of what a picture needs: models' and schedulers' configs, weights (single files,
/// or the shards that an index names), tokenizers' vocabularies. Weights are those of `variant` where the
/// component has it. Throws CheckpointError when an index is damaged.
std::vector<std::string> missing_files(const ModelFolder& model, const std::string& variant);

/// The variants with which fewer weights would be missing than without one, e.g. "fp16"; sorted.
std::vector<std::string> helpful_variants(const ModelFolder& model);

}  // namespace diffract::io
