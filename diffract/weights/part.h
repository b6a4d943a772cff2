#pragma once
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/weights/model_placement.h"
#include "diffract/weights/tensor_source.h"

namespace diffract::weights {

/// What disks read and memory is mapped in.
constexpr uint64_t kPage = 4096;
/// `bytes` in whole units.
constexpr uint64_t rounded_up(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

/// Bytes begin to end of some memory.
struct Stretch {
  uint64_t begin = 0, end = 0;
  uint64_t bytes() const { return end - begin; }
  bool overlaps(const Stretch& other) const { return begin < other.end && other.begin < end; }
};

/// A tensor of a part: where it stands, and what it becomes.
struct PartTensor {
  std::string module_name;  // as a device map names it, with the tensor's own name
  std::string name;         // in the checkpoint
  StoredTensor stored;
  std::optional<at::ScalarType> storage;  // rounded to it first
  at::ScalarType dtype;                   // of the result
  uint64_t begin = 0;                     // in the part's memory
  bool has_pages = false;                 // the pages of the file that it stands in have room there

  uint64_t bytes() const { return static_cast<uint64_t>(stored.view.numel()) * c10::elementSize(dtype); }
  /// The whole pages of the part's memory that it lies in.
  Stretch pages() const { return {begin / kPage * kPage, rounded_up(begin + bytes(), kPage)}; }
  bool is_converted() const {
    return stored.change || dtype != stored.view.scalar_type() || (storage && *storage != dtype);
  }
  /// True where both have pages and the file goes on with this one where `other` ends: memory does too.
  bool continues(const PartTensor& other) const {
    return has_pages && other.has_pages && stored.file == other.stored.file &&
           stored.offset == other.stored.offset + other.bytes();
  }
};

/// The tensors that one module needs, which come and go together: packed one behind the other.
struct Part {
  std::string name;  // of the module
  Source source = Source::disk;
  bool is_once_for_many_steps =
      false;  // used once in many steps: when memory is short, others are kept first
  std::vector<PartTensor> tensors;
  uint64_t bytes = 0;
  at::Tensor host;  // the packed weights, pinned, where source is host

  /// Of whole pages.
  uint64_t page_bytes() const { return rounded_up(bytes, kPage); }
  /// Appends a tensor.
  void add(PartTensor tensor);
  /// Puts matrices before biases and norms, each in the order they were added: so those of a group, as
  /// queries, keys and values, lie behind each other and are one matrix without a copy.
  void matrices_first();
  /// Puts the tensors in the order of their files, and those that are used as they are stored to where the
  /// pages of their file begin with pages of memory, those that follow one another in one piece: they are
  /// read without a copy, in few large reads.
  void lie_as_in_files();
};

/// Which of the parts stay where they compute in `may_stay` bytes, spread evenly over the model: those that
/// are rarely used after all others.
std::vector<bool> parts_that_stay(const std::vector<Part>& parts, uint64_t may_stay);

/// Memory (uint8) for a part's tensors, from the part's byte `begin` on: of all of them, or of some.
struct PartMemory {
  at::Tensor bytes;
  uint64_t begin = 0;
  /// The bytes of the tensor's elements first to last.
  at::Tensor elements(const PartTensor& tensor, uint64_t first, uint64_t last) const;
  /// The tensor itself.
  at::Tensor operator[](const PartTensor& tensor) const;
};

/// The tensors of a part by their names in the checkpoint, each a view of `memory`.
using LoadedTensors = std::unordered_map<std::string, at::Tensor>;
LoadedTensors unpack(const Part& part, const PartMemory& memory);

/// `stored`, rounded to `storage` where that is set, as `dtype`.
at::Tensor converted(const at::Tensor& stored, std::optional<at::ScalarType> storage, at::ScalarType dtype);
/// Changes `values`, the converted rows of `stored` from `first` on, in place; any shape. Rounded once, to
/// their type.
void change(const StoredTensor& stored, at::Tensor& values, int64_t first);

}  // namespace diffract::weights
