#include "diffract/io/safetensors.h"

#include <algorithm>

namespace diffract::io {

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(path), header_(parse_safetensors_header(file_.bytes(), path.string())) {}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  return std::make_shared<const SafetensorsFile>(path);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors().begin(), tensors().end(), [&](const auto& t) { return t.name == name; });
  return found == tensors().end() ? nullptr : &*found;
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& tensor) const {
  return file_.bytes().subspan(header_.data_begin + tensor.begin, tensor.end - tensor.begin);
}

}  // namespace diffract::io
