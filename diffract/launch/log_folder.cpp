#include "diffract/launch/log_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::launch {
namespace {

namespace fs = std::filesystem;

fs::path make_unique_folder(const fs::path& parent, const std::string& prefix) {
  std::string pattern = (parent / (prefix + "XXXXXX")).string();
  if (!::mkdtemp(pattern.data()))
    throw IoError("cannot make a folder for log files in {}: {}. Give another --log-dir", parent.string(),
                  std::strerror(errno));
  return pattern;
}

}  // namespace

LogFolder::LogFolder(const std::string& log_dir, const std::string& run_id, bool keep)
    : temporary_(log_dir.empty()), keep_(keep) {
  std::error_code error;
  if (temporary_) {
    const fs::path parent = fs::temp_directory_path(error);
    base_ = make_unique_folder(error ? "/tmp" : parent, "torchelastic_");
  } else {
    base_ = log_dir;
    fs::create_directories(base_, error);
    if (error) throw IoError("--log-dir {}: {}", log_dir, error.message());
  }
  std::string name = run_id.substr(0, 100);
  std::replace(name.begin(), name.end(), '/', '_');
  run_ = make_unique_folder(base_, name + "_");
  if (temporary_ && keep_) log::info("launch: log files are in {}", run_.string());
}

fs::path LogFolder::worker(int restart_count, int local_rank) {
  const fs::path folder = run_ / fmt::format("attempt_{}", restart_count) / std::to_string(local_rank);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw IoError("cannot make the folder {}: {}", folder.string(), error.message());
  return folder;
}

void LogFolder::discard() {
  std::error_code ignored;
  if (temporary_ && !keep_) fs::remove_all(base_, ignored);
}

}  // namespace diffract::launch
