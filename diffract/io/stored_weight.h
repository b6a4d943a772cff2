#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "diffract/io/safetensors.h"

namespace diffract::io {

/// How a component's tensor lies in a tensor of a file that was made by another program.
struct TensorPart {
  uint64_t share = 0, shares = 1;  // of its rows, in equal shares
  bool is_transposed = false;      // stored as [in, out]
  bool is_pointwise = false;       // may be stored as a kernel of one pixel: [out, in, 1, 1]
};

/// A component's tensor by its own name, and what it is of the file's.
struct NamedPart {
  std::string name;
  TensorPart part = {};
};

/// The tensors of a component that one of a file's is, or holds; none: it is not the component's.
using NamedParts = std::function<std::vector<NamedPart>(const std::string& name)>;

/// A tensor of a component and the file that it stands in.
struct StoredWeight {
  std::shared_ptr<const SafetensorsFile> file;
  const TensorInfo* info;
  TensorPart part = {};  // of what `info` says: all

  /// Throws CheckpointError naming the file and the tensor where the part does not fit its shape.
  void check() const;
  /// As the file has it: of a part that is transposed, before.
  std::vector<uint64_t> shape() const;
  uint64_t size() const { return (info->end - info->begin) / part.shares; }  // in bytes
  uint64_t elements() const { return info->elements() / part.shares; }
  /// Where it begins in the file.
  uint64_t offset() const { return file->offset(*info) + part.share * size(); }
  std::span<const std::byte> bytes() const { return file->bytes(*info).subspan(part.share * size(), size()); }
};

}  // namespace diffract::io
