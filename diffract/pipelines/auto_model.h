#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <variant>

#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/clip_text_model.h"
#include "diffract/models/flux_transformer_2d_model.h"
#include "diffract/models/t5_encoder_model.h"
#include "diffract/models/unet_2d_condition_model.h"
#include "diffract/pipelines/component.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract::pipelines {

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
  const std::string& class_name() const { return class_name_; }
  /// Which module is where; empty without a device map.
  const placement::DeviceMap& hf_device_map() const { return map_; }
  /// The model as its own class. Throws UsageError when it is of another.
  template <typename Model>
  std::shared_ptr<const Model> as() const {
    const auto* model = std::get_if<std::shared_ptr<const Model>>(&model_);
    if (!model) throw UsageError("this model is a {}; another class was asked for", class_name_);
    return *model;
  }
  template <typename Model>
  operator std::shared_ptr<const Model>() const {
    return as<Model>();
  }
  template <typename Model>
  operator Part<Model>() const {
    return as<Model>();
  }

 private:
  template <typename Model>
  using Ptr = std::shared_ptr<const Model>;
  std::string class_name_;
  placement::DeviceMap map_;
  std::variant<Ptr<models::AutoencoderKL>, Ptr<models::CLIPTextModel>, Ptr<models::FluxTransformer2DModel>,
               Ptr<models::T5EncoderModel>, Ptr<models::UNet2DConditionModel>>
      model_;
  template <typename Model, typename Config>
  friend AutoModel load_auto_model(const struct ModelPlace&, const ModelOptions&);
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
  operator Part<Model>() const { return model_; }

 private:
  std::shared_ptr<const Model> model_;
  placement::DeviceMap map_;
};

/// The CPU's part of flush(), and what brings weights to a device.
void flush_host();
/// Gives back what libtorch and the layers keep for their next call; what a model or a tensor holds goes with
/// that object.
void flush();

}  // namespace diffract::pipelines
