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

/// A text as part of a file name: white space becomes "_", what a file system gives a meaning to is left out,
/// and what is left has at most 100 bytes of whole characters. Never empty.
std::string file_name_part(const std::string& text);

}  // namespace diffract::jobs
