#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace diffract::io {

/// A regular file mapped for reading. The file must not be cut short while it is mapped: reading past its new
/// end would end the process, as with any mapping.
class MappedFile {
 public:
  /// Throws CheckpointError when the file is missing or not a regular file, IoError when it cannot be read.
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;  // null for an empty file
  size_t size_ = 0;
};

}  // namespace diffract::io
