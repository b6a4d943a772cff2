#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/loading/kept_models.h"
#include "diffract/tensor/memory_errors.h"

namespace diffract::loading {

/// A MemoryError that befalls every picture.
class ModelDoesNotFit : public MemoryError {
 public:
  explicit ModelDoesNotFit(const std::string& message) : MemoryError("{}", message) {}
};

/// A model of a pipeline that works in stages: given, or loaded when its stage begins, or left out.
template <typename T>
class Component {
 public:
  using Loaded = std::shared_ptr<const T>;

  Component() = default;
  /// Given, in memory as long as the pipeline is; null: left out. `name` stands in messages.
  Component(Loaded model, std::string name) : given_(std::move(model)), name_(std::move(name)) {}
  /// What `load` gives stays after its stage where `kept` has room for it.
  Component(std::function<Loaded()> load, std::string name, std::shared_ptr<KeptModels> kept)
      : load_(std::move(load)), kept_(std::move(kept)), name_(std::move(name)) {}

  /// The model, in memory at least for as long as the caller holds it. `needs`: of the request whose stage
  /// begins. Throws UsageError when it was left out, ModelDoesNotFit.
  Loaded load(const RequestNeeds* needs = nullptr) const {
    if (given_) return given_;
    if (!load_) throw UsageError("{}: this call needs it, but the pipeline was loaded without it", name_);
    heartbeat_rest();  // a load takes as long as the disk does
    try {
      return tensor::with_memory_errors(
          [&] { return std::static_pointer_cast<const T>(kept_->get(name_, needs, load_)); });
    } catch (const MemoryError& error) {
      throw ModelDoesNotFit(fmt::format("{}: its weights: {}", name_, error.what()));
    }
  }

 private:
  Loaded given_;
  std::function<Loaded()> load_;
  std::shared_ptr<KeptModels> kept_;
  std::string name_;
};

/// What from_pretrained is told of one component, as in Python: nothing (it comes from the checkpoint), null
/// (it is left out), or a model to use.
template <typename T>
class GivenComponent {
 public:
  GivenComponent() = default;
  GivenComponent(std::nullptr_t) : from_checkpoint_(false) {}
  GivenComponent(std::shared_ptr<const T> model) : from_checkpoint_(false), model_(std::move(model)) {}

  bool from_checkpoint() const { return from_checkpoint_; }
  const std::shared_ptr<const T>& model() const { return model_; }

 private:
  bool from_checkpoint_ = true;
  std::shared_ptr<const T> model_;
};

}  // namespace diffract::loading
