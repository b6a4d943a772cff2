#include "diffract/io/open_files.h"

namespace diffract::io {

std::shared_ptr<const SafetensorsFile> OpenFiles::open(const std::filesystem::path& file) {
  const std::lock_guard lock(mutex_);
  auto& opened = files_[file];
  if (!opened) opened = SafetensorsFile::open(file);
  return opened;
}

void OpenFiles::close(const std::vector<std::filesystem::path>& files) {
  const std::lock_guard lock(mutex_);
  for (const auto& file : files) files_.erase(file);
}

}  // namespace diffract::io
