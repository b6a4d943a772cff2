#include "diffract/io/missing_files.h"

#include <algorithm>
#include <set>

#include "diffract/core/file.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

bool is_tokenizer(const std::string& component) { return component.starts_with("tokenizer"); }

std::string config_of(const std::string& component) {
  if (component == "scheduler") return component + "/scheduler_config.json";
  return component + (is_tokenizer(component) ? "/tokenizer_config.json" : "/config.json");
}

// The files of a vocabulary, as the tokenizer's class writes them.
void add_missing_vocabulary(const ModelFolder& model, const std::string& component,
                            std::vector<std::string>& missing) {
  const auto is_there = [&](const char* name) {
    std::error_code ignored;
    return fs::exists(model.path() / component / name, ignored);
  };
  const std::string class_name = model.component_class(component);
  if (is_there("tokenizer.json")) return;
  if (class_name.starts_with("T5") && !is_there("spiece.model"))
    missing.push_back(component + "/tokenizer.json or spiece.model");
  if (!class_name.starts_with("CLIP")) return;
  for (const char* name : {"vocab.json", "merges.txt"})
    if (!is_there(name)) missing.push_back(fmt::format("{}/{}", component, name));
}

}  // namespace

bool has_weights(const std::string& component) {
  return component == "unet" || component == "transformer" || component == "vae" ||
         component.starts_with("text_encoder") || component.starts_with("controlnet");
}

bool is_run(const std::string& component) {
  return component == "scheduler" || has_weights(component) || is_tokenizer(component);
}

std::vector<std::string> missing_configs(const ModelFolder& model) {
  std::vector<std::string> missing;
  for (const std::string& name : model.component_names())
    if (is_run(name) && !is_there(model.path() / config_of(name))) missing.push_back(config_of(name));
  return missing;
}

std::vector<std::string> missing_files(const ModelFolder& model, const std::string& variant) {
  std::vector<std::string> missing;
  for (const std::string& name : model.component_names()) {
    if (!is_run(name)) continue;
    if (is_tokenizer(name)) {  // its config may be left out
      add_missing_vocabulary(model, name, missing);
      continue;
    }
    const ComponentElsewhere* given = model.elsewhere(name);
    if (given && !given->folder.empty()) continue;  // not of this folder
    if (!is_there(model.path() / config_of(name))) missing.push_back(config_of(name));
    if (!has_weights(name) || given) continue;
    for (const std::string& file : missing_weight_files(model.path() / name, variant))
      missing.push_back(fmt::format("{}/{}", name, file));
  }
  return missing;
}

std::vector<std::string> helpful_variants(const ModelFolder& model) {
  std::set<std::string> variants;
  for (const std::string& name : model.component_names())
    if (is_run(name))
      for (std::string& variant : weight_variants(model.path() / name)) variants.insert(std::move(variant));
  const size_t without = missing_files(model, "").size();
  std::erase_if(variants,
                [&](const std::string& variant) { return missing_files(model, variant).size() >= without; });
  return {variants.begin(), variants.end()};
}

}  // namespace diffract::io
