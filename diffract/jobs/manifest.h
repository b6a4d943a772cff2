#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/core/append_log.h"
#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/jobs/job.h"

namespace diffract::jobs {

/// Whether the safety checker held a picture back, in summaries, manifests and PNG files: diffusers' name.
constexpr const char* kNsfwKey = "nsfw_content_detected";

/// One line of a manifest: a picture that is safely in place, or one that failed.
struct ManifestEntry {
  size_t index = 0;
  uint64_t seed = 0;
  std::string prompt;
  std::string parameters;  // all that the picture depends on, as compact JSON
  int64_t rank = 0;        // of the process that computed it
  int64_t threads = 0;     // of that process; 0 where it is not known
  std::string file;        // relative to the manifest's folder; empty for a failed picture
  std::string sha256;      // of the file's bytes
  std::optional<bool> nsfw_content_detected = {};  // unset: no safety checker looked at it
  std::string error_kind, message;                 // of a failed picture

  bool failed() const { return file.empty(); }
  std::string line() const;
  /// Throws CheckpointError naming `source` and the key for what is not a line of a manifest.
  static ManifestEntry parse(std::string_view line, const std::string& source);
};

/// The pictures of a job that are finished, a JSON object a line, in the order in which they were finished.
/// All processes of a job append to it.
class Manifest {
 public:
  explicit Manifest(std::filesystem::path file) : log_(std::move(file)) {}

  using Entries = std::unordered_map<size_t, std::vector<ManifestEntry>>;  // by index, oldest first
  /// All sound lines; the others (the last of a killed process, damage) are counted in one warning and left
  /// out: their pictures are looked at themselves. Empty without a file.
  Entries load() const;
  void append(const ManifestEntry& entry) { log_.append(entry.line()); }
  /// Takes out the lines that `is_meant` picks, of failed pictures and damaged ones, and all but the last
  /// where a picture has several: what is made anew gets its line anew.
  void forget(const std::function<bool(const ManifestEntry& entry)>& is_meant);

  const std::filesystem::path& file() const { return log_.file(); }

 private:
  AppendLog log_;
};

}  // namespace diffract::jobs
