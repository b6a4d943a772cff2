#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/jobs/job.h"

namespace diffract::jobs {

/// Names of pictures with the rank of the process that made them inside, read backwards: which ranks made
/// what lies in a folder. A job of many pictures and processes has too many names to try each.
class RankedNames {
 public:
  using Name = std::function<std::string(const JobImage& image, int64_t rank)>;
  RankedNames(Name name, int64_t world_size);

  /// True when all ranks give a picture the same name, or the rank is once in it, behind the last slash; else
  /// names cannot be read backwards, and every rank is tried.
  bool readable() const { return readable_; }
  /// The name with a place for the rank; what readings() gives of it under any rank.
  std::string with_place(const JobImage& image) const { return name_(image, place_); }
  /// All texts that `file` may be with_place() of.
  std::vector<std::string> readings(const std::filesystem::path& file) const;
  /// The ranks under whose name a picture's file may be there. A folder is looked at once.
  std::vector<int64_t> ranks_of(const JobImage& image);

 private:
  using Folder =
      std::unordered_multimap<size_t, int64_t>;  // by the hash of a reading: the rank that was read
  Name name_;
  int64_t world_size_, place_;
  bool readable_;
  std::map<std::filesystem::path, Folder> folders_;
};

}  // namespace diffract::jobs
