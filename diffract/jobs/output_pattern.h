#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "diffract/jobs/job.h"

namespace diffract::jobs {

/// A file name with places for {index}, {prompt}, {seed} and {rank}.
class OutputPattern {
 public:
  /// Throws UsageError for an empty pattern, another name in braces, or a brace without its partner.
  explicit OutputPattern(std::string pattern);

  std::string file(const JobImage& image, int64_t rank) const;
  /// The innermost folder that holds all files of the pattern; "" is the current one.
  std::string folder() const;

 private:
  std::string pattern_;
};

/// The file of what a picture looks like after step `index` (from 0): "a.png" -> "a.step_004.png".
std::string preview_file(const std::string& picture, size_t index);
/// Whether preview_file() may give such a name.
bool is_preview_file(const std::string& file);

/// A text as part of a file name: white space becomes "_", what a file system gives a meaning to is left out,
/// and what is left has at most 100 bytes of whole characters. Never empty.
std::string file_name_part(const std::string& text);

}  // namespace diffract::jobs
