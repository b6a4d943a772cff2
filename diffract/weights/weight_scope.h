#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <string_view>

#include "diffract/tensor/dtype.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/weight.h"
#include "diffract/weights/weight_stream.h"

namespace diffract::weights {

/// A checkpoint seen from one module: `scope / "to_q"` is the module below, and a tensor comes out
/// shape-checked, in the type that it will be used in. Building a layer is fetching its tensors.
class WeightScope {
 public:
  /// With a `stream` the model's blocks are read when they are needed rather than kept in memory.
  WeightScope(std::shared_ptr<const Checkpoint> checkpoint, const tensor::DtypePolicy& policy,
              std::shared_ptr<WeightStream> stream = nullptr);

  WeightScope operator/(std::string_view child) const;
  WeightScope operator/(int64_t index) const { return *this / std::to_string(index); }

  /// True when the tensor `name` of this module is in the checkpoint.
  bool has(std::string_view name) const;

  /// A matrix, kernel or table, kept in its storage type. Throws CheckpointError when it is missing, is not
  /// of a floating-point type, or has another shape.
  Weight weight(std::string_view name, at::IntArrayRef shape) const;
  /// A bias, a norm's scale or another small tensor: converted to the arithmetic type once. Errors as
  /// `weight`.
  at::Tensor tensor(std::string_view name, at::IntArrayRef shape) const;

  const std::shared_ptr<WeightStream>& stream() const { return stream_; }
  at::ScalarType arithmetic() const { return policy_.arithmetic; }

 private:
  std::string full_name(std::string_view name) const;
  at::Tensor fetch(std::string_view name, at::IntArrayRef shape) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  tensor::DtypePolicy policy_;
  std::shared_ptr<WeightStream> stream_;
  bool widen_at_load_ = false;
  std::string prefix_;
};

}  // namespace diffract::weights
