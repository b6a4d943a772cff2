#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/io/model_folder.h"
#include "diffract/weights/tensor_source.h"

namespace diffract::weights {

/// Called when a tensor is used for the first time: how many of the bytes of all tensors have been.
using UseObserver = std::function<void(uint64_t used_bytes, uint64_t total_bytes)>;

/// libtorch's type of a floating-point tensor. Throws CheckpointError beginning with `where` for others.
at::ScalarType scalar_type(io::Dtype dtype, const std::string& where);

/// All tensors of one component over its one or many safetensors files. Tensors are views of the mapped
/// files: no byte is read before it is used, and none is copied.
class Checkpoint final : public TensorSource {
 public:
  /// Opens and checks every file. Throws CheckpointError as io::open_weight_files.
  static std::shared_ptr<const Checkpoint> open(const io::WeightFiles& files, UseObserver observe = {});

  bool has(const std::string& name) const override { return tensors_.count(name) != 0; }
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override;
  int64_t total_elements() const override { return total_elements_; }
  uint64_t total_bytes() const { return total_bytes_; }
  /// Of all tensors, as they are stored.
  const std::set<io::Dtype>& dtypes() const { return dtypes_; }
  /// The names that no module has asked for, sorted.
  std::vector<std::string> unused() const;

 private:
  static StoredTensor view_of(const io::StoredWeight& weight, at::ScalarType dtype);
  void require_no_scale(const std::string& name, const std::string& where) const;

  std::string description_;  // names the component in messages
  std::unordered_map<std::string, io::StoredWeight> tensors_;
  int64_t total_elements_ = 0;
  uint64_t total_bytes_ = 0;
  std::set<io::Dtype> dtypes_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> used_;
  mutable uint64_t used_bytes_ = 0;
  UseObserver observe_;
};

}  // namespace diffract::weights
