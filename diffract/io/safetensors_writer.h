#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "diffract/io/safetensors.h"

namespace diffract::io {

/// A tensor to be written; `bytes` are its elements in row order.
struct TensorView {
  std::string name;
  Dtype dtype;
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a safetensors file that appears whole or not at all, laid out as the reference writer does: by
/// falling width of the dtype, then by name, the header padded so that the data begins at a multiple of 8.
/// Throws IoError when it cannot be written, InternalError when a view's bytes do not fit its shape or a name
/// stands twice.
void write_safetensors(const std::filesystem::path& file, std::vector<TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace diffract::io
