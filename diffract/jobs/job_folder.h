#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "diffract/jobs/manifest.h"
#include "diffract/jobs/ranked_names.h"

namespace diffract::jobs {

/// The key under which a picture's PNG holds its parameters as JSON.
inline constexpr const char* kParametersKey = "diffract";
inline constexpr const char* kManifestName = "manifest.jsonl";

/// The pictures of a job on this host and their manifest: which are there already, and how one more gets
/// there.
class JobFolder {
 public:
  struct Naming {
    /// The file of a picture that `rank` computes, as the user names it.
    std::function<std::string(const JobImage& image, int64_t rank)> file;
    /// All that a picture depends on.
    std::function<Json(const JobBatch& batch, const JobImage& image)> parameters;
    std::filesystem::path folder;  // of the manifest: above all pictures
    int64_t rank = 0, world_size = 1;
    bool with_manifest = true;
  };
  explicit JobFolder(Naming naming);

  /// Of each batch, what summaries() of its pictures say if all of them are in place, made with the same
  /// parameters, their bytes as the manifest says; else null. A picture that the manifest does not know but
  /// that says itself how it was made gets its line; what is to be made anew loses its own.
  std::vector<Json> find_finished(const std::vector<JobBatch>& batches);
  /// Takes the lines of these batches' pictures out of the manifest: they are to be made anew.
  void forget(const std::vector<JobBatch>& batches);
  /// Removes what killed processes left half-written. Nobody may be at work on the job meanwhile.
  void remove_leftovers(const std::vector<JobBatch>& batches) const;

  /// Puts a picture's file in its place, then its line into the manifest, both safely on the disk.
  /// Gives its summary: index, prompt, seed, rank, file, sha256. Throws IoError.
  struct Made {
    std::string parameters;  // as Naming::parameters, in JSON
    int threads;             // that computed it
    std::optional<bool> nsfw_content_detected = {};
  };
  Json put(const JobImage& image, const Made& made, std::span<const std::byte> bytes);
  /// Writes into the manifest that a picture failed.
  void record_failure(const JobBatch& batch, const JobImage& image, ErrorKind kind,
                      const std::string& message);

 private:
  ManifestEntry entry_of(const JobImage& image, std::string parameters, int64_t rank) const;
  std::string parameters_of(const JobBatch& batch, const JobImage& image) const;
  Json finished(const Manifest::Entries& entries, const JobBatch& batch, const JobImage& image);
  Json summary(const ManifestEntry& entry) const;
  std::string relative(const std::string& file) const;
  void note(const ManifestEntry& entry);

  Naming naming_;
  Manifest manifest_;
  RankedNames names_;
};

}  // namespace diffract::jobs
