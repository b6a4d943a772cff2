#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/io/mapped_file.h"

namespace diffract::io {

/// The element types of the safetensors format, by its own names.
enum class Dtype {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};
std::string_view dtype_name(Dtype dtype);
uint64_t dtype_bits(Dtype dtype);

struct TensorInfo {
  std::string name;
  Dtype dtype;
  std::vector<uint64_t> shape;  // its product times the dtype's bits is end - begin, checked
  uint64_t begin, end;          // bytes from the start of the data, after the header

  uint64_t elements() const { return (end - begin) * 8 / dtype_bits(dtype); }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // offset of the data in the file
};

/// Parses and checks the header of a whole file's bytes by every rule of the format: the tensors cover the
/// data without holes or overlaps, names are unique, shapes fit their bytes. Stricter than the reference
/// parser in one thing: a key that stands twice in an object is refused, where the reference keeps one of the
/// two. `source` names the file in messages. Throws CheckpointError.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& source);

/// A mapped safetensors file whose header has been checked.
class SafetensorsFile {
 public:
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  /// Null when there is none of that name.
  const TensorInfo* find(std::string_view name) const;
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;
  std::span<const std::byte> whole_file() const { return file_.bytes(); }
  /// Where the tensor begins in the file.
  uint64_t offset(const TensorInfo& tensor) const { return header_.data_begin + tensor.begin; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  SafetensorsHeader header_;
};

}  // namespace diffract::io
