#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "diffract/io/safetensors.h"

namespace diffract::weights {

/// A file of weights as it is read in large pieces: past the page cache where the file system can, and from
/// the page cache what is there already. For any number of threads.
class DirectFile {
 public:
  explicit DirectFile(const io::SafetensorsFile& file);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  /// Bytes begin to end of the file, in `buffer`, which begins with a page and holds all pages of the range;
  /// `mapped` is the same range in memory, and what is given where the file can no longer be opened. What the
  /// page cache has is read from there too, not from `mapped`: a file that has become shorter is then an
  /// error and not a signal. Throws IoError naming the file.
  std::span<const std::byte> read(uint64_t begin, uint64_t end, std::span<const std::byte> mapped,
                                  std::byte* buffer) const;

 private:
  std::string path_;
  int direct_, buffered_;  // negative where the file cannot be opened so
};

}  // namespace diffract::weights
