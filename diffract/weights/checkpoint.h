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
#include "diffract/io/safetensors.h"

namespace diffract::weights {

/// A tensor as it stands in its file.
struct StoredTensor {
  at::Tensor view;  // of the mapped file; a copy where the file does not align it to its elements
  std::shared_ptr<const io::SafetensorsFile> file;
  uint64_t offset;  // in the file
};

/// Called when a tensor is used for the first time: how many of the bytes of all tensors have been.
using UseObserver = std::function<void(uint64_t used_bytes, uint64_t total_bytes)>;

/// All tensors of one component over its one or many safetensors files. Tensors are views of the mapped
/// files: no byte is read before it is used, and none is copied.
class Checkpoint {
 public:
  /// Opens and checks every file. Throws CheckpointError as io::open_weight_files.
  static std::shared_ptr<const Checkpoint> open(const io::WeightFiles& files, UseObserver observe = {});

  using Asked = std::function<void(const std::string& name, at::IntArrayRef shape)>;
  /// A checkpoint without files, for planning: it claims to have no tensor, yet gives every one that is asked
  /// for, without data (on the meta device), and tells `asked` of it.
  static std::shared_ptr<const Checkpoint> make_meta(Asked asked);

  /// Tensors that come from elsewhere than files: `make` gives one of a name and shape when a module asks,
  /// `has` says which names there are.
  using Maker = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)>;
  static std::shared_ptr<const Checkpoint> made(Maker make, std::function<bool(const std::string&)> has);

  bool has(const std::string& name) const { return make_ ? has_(name) : tensors_.count(name) != 0; }
  /// A floating-point tensor of this shape. Throws CheckpointError naming the file, the tensor, what was
  /// found and what was expected.
  at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const { return stored(name, shape).view; }
  /// The same with its place in the file.
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const;
  int64_t total_elements() const { return total_elements_; }
  uint64_t total_bytes() const { return total_bytes_; }
  /// Of all tensors, as they are stored.
  const std::set<io::Dtype>& dtypes() const { return dtypes_; }
  /// The names that no module has asked for, sorted.
  std::vector<std::string> unused() const;

 private:
  void require_no_scale(const std::string& name, const std::string& where) const;

  Asked asked_;              // of one without files
  std::string description_;  // names the component in messages
  std::unordered_map<std::string, io::StoredWeight> tensors_;
  Maker make_;  // set where there are no files
  std::function<bool(const std::string&)> has_;
  int64_t total_elements_ = 0;
  uint64_t total_bytes_ = 0;
  std::set<io::Dtype> dtypes_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> used_;
  mutable uint64_t used_bytes_ = 0;
  UseObserver observe_;
};

}  // namespace diffract::weights
