#include "diffract/models/model_class.h"

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::models {

// One line a class; each stands in its model's folder.
extern const ModelClass kAutoencoderKLClass, kAutoencoderTinyClass, kCLIPTextModelClass,
    kCLIPTextModelWithProjectionClass, kCLIPVisionModelWithProjectionClass, kControlNetModelClass,
    kFluxTransformer2DModelClass, kStableDiffusionSafetyCheckerClass, kT5EncoderModelClass,
    kUNet2DConditionModelClass;

namespace {

constexpr const ModelClass* kClasses[] = {&kAutoencoderKLClass,
                                          &kAutoencoderTinyClass,
                                          &kCLIPTextModelClass,
                                          &kCLIPTextModelWithProjectionClass,
                                          &kCLIPVisionModelWithProjectionClass,
                                          &kControlNetModelClass,
                                          &kFluxTransformer2DModelClass,
                                          &kStableDiffusionSafetyCheckerClass,
                                          &kT5EncoderModelClass,
                                          &kUNet2DConditionModelClass};

bool is_in(std::span<const char* const> names, std::string_view name) {
  return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
}

// A whole model's config stands for its text encoder, as where transformers loads that from it.
std::string known_name(const std::string& name) {
  for (const ModelClass* known : kClasses)
    if (is_in(known->also, name)) return known->name;
  return name;
}

}  // namespace

std::span<const ModelClass* const> model_classes() { return kClasses; }

std::string class_name_of(const ConfigReader& config) {
  if (config.has("_class_name")) return config.text("_class_name");
  if (config.has("architectures"))
    if (const auto names = config.texts("architectures"); !names.empty()) return known_name(names.front());
  const std::string type = config.text("model_type", "");
  for (const ModelClass* known : kClasses)
    if (is_in(known->model_types, type)) return known->name;
  throw CheckpointError("{}: names no class; expected \"_class_name\" or \"architectures\"", config.source());
}

const ModelClass* find_model_class(std::string_view name) {
  for (const ModelClass* known : kClasses)
    if (known->name == name) return known;
  return nullptr;
}

const ModelClass& find_model_class(const std::string& name, const std::string& source) {
  if (const ModelClass* known = find_model_class(std::string_view(name))) return *known;
  std::string names;
  for (const ModelClass* known : kClasses) names += fmt::format(" {}", known->name);
  throw CheckpointError("{}: the model is a {}; diffract builds:{}", source, name, names);
}

}  // namespace diffract::models
