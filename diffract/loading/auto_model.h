#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <typeinfo>

#include "diffract/loading/component.h"
#include "diffract/loading/load_options.h"
#include "diffract/models/model_class.h"

namespace diffract::loading {

/// How a single model is loaded; the fields are from_pretrained's arguments.
struct ModelOptions {
  std::string
      subfolder;  // of the pipeline's folder, e.g. "transformer"; empty: the folder is the model's own
  std::optional<at::ScalarType> torch_dtype;  // storage of the weights; unset: as the files have them
  std::optional<at::ScalarType> arithmetic;   // unset: chosen from what the device does fast
  std::string variant;
  at::Device device = at::kCPU;
  DeviceMapArgument device_map = {};     // where which module is kept
  placement::MaxMemory max_memory = {};  // budgets, which are hard limits; alone they mean "auto"
  std::string offload_folder = {};       // for weights on disk in another dtype than the files have
  LoadObserver on_load = {};             // called for each tensor
};

/// Any single model: the class that its config.json names. A handle: copies share the model.
class AutoModel {
 public:
  /// Loads from a built-in model, a folder, or ORG/NAME[@REV] in the Hugging Face cache. Throws
  /// CheckpointError when it is damaged, missing or of a class that diffract does not build.
  static AutoModel from_pretrained(const std::string& model, const ModelOptions& options = {});

  /// The class's name, e.g. "FluxTransformer2DModel".
  std::string class_name() const { return class_->name; }
  /// Which module is where; empty without a device map.
  const placement::DeviceMap& hf_device_map() const { return map_; }
  /// The model as its own class. Throws UsageError when it is of another.
  template <typename Model>
  std::shared_ptr<const Model> as() const {
    if (*class_->type != typeid(Model))
      throw UsageError("this model is a {}; another class was asked for", class_->name);
    return std::static_pointer_cast<const Model>(model_);
  }
  template <typename Model>
  operator std::shared_ptr<const Model>() const {
    return as<Model>();
  }
  template <typename Model>
  operator GivenComponent<Model>() const {
    return as<Model>();
  }

 private:
  const models::ModelClass* class_ = nullptr;
  placement::DeviceMap map_;
  std::shared_ptr<const void> model_;
};

/// A model loaded as a class that the caller names:
/// ModelHandle<AutoencoderKL>::from_pretrained(...)->decode(x).
template <typename Model>
class ModelHandle {
 public:
  /// As AutoModel::from_pretrained. Throws UsageError when the folder holds a model of another class.
  static ModelHandle from_pretrained(const std::string& model, const ModelOptions& options = {}) {
    const AutoModel loaded = AutoModel::from_pretrained(model, options);
    return ModelHandle(loaded.as<Model>(), loaded.hf_device_map());
  }
  explicit ModelHandle(std::shared_ptr<const Model> model, placement::DeviceMap map = {})
      : model_(std::move(model)), map_(std::move(map)) {}

  const Model* operator->() const { return model_.get(); }
  const Model& operator*() const { return *model_; }
  /// Which module is where; empty without a device map.
  const placement::DeviceMap& hf_device_map() const { return map_; }
  operator std::shared_ptr<const Model>() const { return model_; }
  operator GivenComponent<Model>() const { return model_; }

 private:
  std::shared_ptr<const Model> model_;
  placement::DeviceMap map_;
};

}  // namespace diffract::loading
