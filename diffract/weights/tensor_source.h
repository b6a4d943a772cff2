#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>

#include "diffract/io/safetensors.h"

namespace diffract::weights {

/// What becomes of a tensor's values between its file and its use, e.g. a low-rank addition. It is made each
/// time that the values are read, so that no changed copy of a model is kept beside its file. Thread-safe.
class TensorChange {
 public:
  virtual ~TensorChange() = default;
  /// Changes rows of the tensor in place: those from `first` on, as [count, numbers of a row], float32.
  virtual void apply(at::Tensor& rows, int64_t first) const = 0;
};

/// A tensor as its source has it.
struct StoredTensor {
  at::Tensor view;  // of the mapped file; a copy where the file does not align it to its elements
  std::shared_ptr<const io::SafetensorsFile> file;  // null where it comes from elsewhere
  uint64_t offset;                                  // in the file
  std::shared_ptr<const TensorChange> change = {};  // of what the view holds; null: none

  /// Numbers of one row, of its first dimension.
  int64_t row_length() const { return view.dim() > 0 && view.size(0) > 0 ? view.numel() / view.size(0) : 1; }
};

/// Where a model's tensors come from. Sources wrap each other: renamed(files, ...). Thread-safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual bool has(const std::string& name) const = 0;
  /// A floating-point tensor of this shape. Throws CheckpointError naming where it stands, the tensor, what
  /// was found and what was expected.
  virtual StoredTensor stored(const std::string& name, at::IntArrayRef shape) const = 0;
  /// Of all tensors, which decides whether they are widened at load.
  virtual int64_t total_elements() const = 0;

  /// Its view, without its change.
  at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const { return stored(name, shape).view; }
};
using TensorSourcePtr = std::shared_ptr<const TensorSource>;

/// A source without files, for planning: it claims to have no tensor, yet gives every one that is asked for,
/// without data (on the meta device), and tells `asked` of it.
using Asked = std::function<void(const std::string& name, at::IntArrayRef shape)>;
TensorSourcePtr meta_source(Asked asked);

/// Tensors that `make` gives when a module asks; `has` says which names there are.
using Maker = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)>;
TensorSourcePtr made_source(Maker make, std::function<bool(const std::string&)> has);

/// `source` under other names: `to_source` gives the name there of one that a model asks for.
TensorSourcePtr renamed(TensorSourcePtr source, std::function<std::string(const std::string&)> to_source);

}  // namespace diffract::weights
