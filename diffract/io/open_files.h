#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "diffract/io/safetensors.h"

namespace diffract::io {

/// Files that several readers want one after the other: each is opened, mapped and checked once for as long
/// as it is in here. Thread-safe.
class OpenFiles {
 public:
  std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& file);
  /// Lets go of these: each file is closed when nobody reads it any more.
  void close(const std::vector<std::filesystem::path>& files);

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, std::shared_ptr<const SafetensorsFile>> files_;
};

}  // namespace diffract::io
