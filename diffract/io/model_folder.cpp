#include "diffract/io/model_folder.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/file.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxIndexBytes = 1 << 20;

// A component's name becomes a folder's name; model_index.json must not lead out of the model's folder with
// it.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 100 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

}  // namespace

ModelFolder ModelFolder::open(const fs::path& folder) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure))
    throw CheckpointError("{}: is not a folder; expected a model in the diffusers layout", folder.string());
  const fs::path index = folder / "model_index.json";
  if (!fs::exists(index, failure) && fs::exists(folder / "config.json", failure))
    throw CheckpointError("{}: is the folder of one model; expected that of its pipeline, which holds it",
                          folder.string());
  if (!fs::exists(index, failure) && !failure)
    throw CheckpointError(
        "{}: no such file. A model in the diffusers layout has one; a single file is given by "
        "its own name: --model FILE.safetensors",
        index.string());
  return parse(load_text(index, kMaxIndexBytes), folder);
}

ModelFolder ModelFolder::parse(const std::string& model_index, const fs::path& folder) {
  const std::string source = (folder / "model_index.json").string();
  const ConfigReader config(parse_json(model_index, source), source);
  ModelFolder result;
  result.path_ = folder;
  result.index_ = config.json();
  result.class_name_ = config.text("_class_name");
  for (const auto& [name, value] : config.json().items()) {
    // Settings such as requires_safety_checker stand among the components; those are pairs [library, class].
    if (name.starts_with('_') || !value.is_array() || value.size() != 2) continue;
    if (value[0].is_null() || value[1].is_null()) continue;
    if (!value[0].is_string() || !value[1].is_string() || !is_plain_name(name))
      throw CheckpointError("{}: \"{}\" is {}; expected [library, class] or [null, null]", source,
                            excerpt(name), excerpt(value));
    result.names_.push_back(name);
    result.classes_[name] = value[1].get<std::string>();
  }
  return result;
}

std::string ModelFolder::component_class(const std::string& name) const {
  const auto found = classes_.find(name);
  return found == classes_.end() ? std::string() : found->second;
}

void ModelFolder::set_component(const std::string& name, ComponentElsewhere from) {
  if (!has_component(name)) names_.push_back(name);
  if (from.weights) from.weights->opened = open_files_;
  classes_[name] = from.class_name;
  elsewhere_[name] = std::move(from);
}

void ModelFolder::leave_out(const std::string& name) {
  std::erase(names_, name);
  classes_.erase(name);
}

const ComponentElsewhere* ModelFolder::elsewhere(const std::string& name) const {
  const auto found = elsewhere_.find(name);
  return found == elsewhere_.end() ? nullptr : &found->second;
}

fs::path ModelFolder::component_folder(const std::string& name) const {
  if (const auto* given = elsewhere(name); given && !given->folder.empty()) return given->folder;
  const fs::path folder = path_ / name;
  std::error_code failure;
  if (!fs::is_directory(folder, failure))
    throw CheckpointError(
        "{}: no such folder; model_index.json names the component \"{}\". Was the model downloaded "
        "whole?",
        folder.string(), name);
  return folder;
}

ConfigReader ModelFolder::config(const std::string& name) const {
  if (const auto set = configs_.find(name); set != configs_.end()) return set->second;
  const fs::path folder = component_folder(name);
  const fs::path file = folder / (name == "scheduler" ? "scheduler_config.json" : "config.json");
  return ConfigReader(load_json(file), file.string());
}

WeightFiles ModelFolder::component_weights(const std::string& name, const std::string& variant) const {
  const auto* given = elsewhere(name);
  if (given && given->weights) return *given->weights;
  const fs::path folder = component_folder(name);
  const auto found = [&](const std::string& of_variant) {
    WeightFiles files = find_weight_files(folder, of_variant);
    files.opened = open_files_;
    return files;
  };
  if (variant.empty() || has_weight_variant(folder, variant)) return found(variant);
  const bool others_have_it = std::any_of(names_.begin(), names_.end(), [&](const std::string& other) {
    return has_weight_variant(path_ / other, variant);
  });
  if (!others_have_it && !given) {
    const auto there = weight_variants(folder);
    throw CheckpointError("{}: no component has weights of the variant \"{}\"; {}", path_.string(), variant,
                          there.empty() ? "leave --variant out"
                                        : fmt::format("there are files of the variant {}: --variant {}",
                                                      fmt::join(there, ", "), there.front()));
  }
  return found("");
}

ConfigReader load_config(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  return {load_json(file), file.string()};
}

}  // namespace diffract::io
