#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <string_view>

#include "diffract/tensor/dtype.h"
#include "diffract/weights/device_loader.h"
#include "diffract/weights/model_placement.h"
#include "diffract/weights/tensor_source.h"
#include "diffract/weights/weight.h"
#include "diffract/weights/weight_stream.h"

namespace diffract::weights {

/// Whether a model of so many elements is converted once, when it is loaded: its copy costs less than
/// libtorch's own memory, and converting it in each of its short steps would cost more than a tenth of them.
bool is_widened(int64_t elements);

/// A checkpoint seen from one module: `scope / "to_q"` is the module below, and a tensor comes out
/// shape-checked, in the type that it will be used in, on the device that the module computes on. Building a
/// layer is fetching its tensors.
class WeightScope {
 public:
  /// All weights on one device.
  WeightScope(TensorSourcePtr source, const tensor::DtypePolicy& policy, at::Device device = at::kCPU);
  /// Weights where `placement` says. Modules that are not kept where they compute go through `stream`, which
  /// may be null where there are none. With a stream and without a map, the blocks of a BlockList go through
  /// it.
  WeightScope(TensorSourcePtr source, const tensor::DtypePolicy& policy, ModelPlacement placement,
              std::shared_ptr<WeightStream> stream);

  WeightScope operator/(std::string_view name) const { return child(name, name); }
  WeightScope operator/(int64_t index) const { return *this / std::to_string(index); }
  /// The module below that a device map calls `module` and whose tensors stand below `tensors` in this
  /// checkpoint; either may be empty.
  WeightScope child(std::string_view module, std::string_view tensors) const;

  /// True when the tensor `name` of this module is in the checkpoint.
  bool has(std::string_view name) const;

  /// A matrix, kernel or table, kept in its storage type. Throws CheckpointError when it is missing, is not
  /// of a floating-point type, or has another shape.
  Weight weight(std::string_view name, at::IntArrayRef shape) const;
  /// A product's matrix [out, in], encoded as the policy says: the one place where that is done.
  Weight matrix(std::string_view name, at::IntArrayRef shape) const;
  /// A bias, a norm's scale or another small tensor: converted to the arithmetic type once. Errors as
  /// `weight`.
  at::Tensor tensor(std::string_view name, at::IntArrayRef shape) const;

  at::ScalarType arithmetic() const { return root_->policy.arithmetic; }
  /// The same module, computed in float32 where the policy says float16: for values beyond its 65504.
  WeightScope at_least_float32() const;
  /// The same module with all matrices dense, whatever the policy says.
  WeightScope without_float8() const {
    WeightScope same = *this;
    same.is_without_float8_ = true;
    return same;
  }
  /// The device whose outputs a model's callers get, and that computes what is kept elsewhere.
  at::Device device() const { return root_->placement.device; }

  // For nn::Placed, which decides where a module is before it builds it.
  /// True once that is decided: modules below are where this one is.
  bool is_placed() const { return device_ || loaded_; }
  at::Device placed_device() const { return device_.value_or(root_->placement.device); }
  bool is_on_one_device() const { return root_->placement.map.empty() && !root_->stream; }
  /// The same module with all its weights on the device.
  WeightScope on(at::Device device) const;
  /// The same module for a process that does not compute it: tensors on the meta device, checked as if they
  /// were read.
  WeightScope shapes() const { return on(at::kMeta); }
  /// The same module, whose tensors come from the stream.
  WeightScope from(const LoadedTensors& loaded) const;
  /// The same module; what it fetches is checked and written down in `part`, not brought anywhere.
  WeightScope recording(Part& part) const;
  /// Where the recorded tensors belong; `is_block`: one of a BlockList. Throws UsageError when the map
  /// divides the module or leaves it out.
  Location location(const Part& part, bool is_block) const;
  const std::shared_ptr<WeightStream>& stream() const { return root_->stream; }
  const std::string& module_name() const { return module_; }
  /// Gives back what only building needs: no layer fetches a tensor from a file any more.
  void finish() const { root_->loader->finish(); }

 private:
  struct Root {
    TensorSourcePtr source;
    tensor::DtypePolicy policy;
    ModelPlacement placement;
    std::shared_ptr<WeightStream> stream;
    bool widen_at_load = false;
    std::shared_ptr<DeviceLoader> loader = std::make_shared<DeviceLoader>();
  };
  at::Tensor fetch(std::string_view name, at::IntArrayRef shape, bool widen) const;

  std::shared_ptr<const Root> root_;
  std::string tensors_, module_;      // this module's name in the checkpoint and in a device map
  std::optional<at::Device> device_;  // where it is, once that is decided
  const LoadedTensors* loaded_ = nullptr;
  Part* part_ = nullptr;  // that is recorded
  bool is_without_float8_ = false;
};

}  // namespace diffract::weights
