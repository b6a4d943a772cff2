#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "diffract/io/safetensors.h"

namespace diffract::weights {

/// Where a range of a file is read from.
enum class ReadFrom { disk, page_cache };

/// A file of weights as it is read in large pieces: past the page cache where the file system can, and from
/// the page cache what is there already. For any number of threads.
class DirectFile {
 public:
  explicit DirectFile(const io::SafetensorsFile& file);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  /// The page cache where it has all of `mapped`, a range of the file in memory. To be asked of all that is
  /// read in a row and not of each piece: the kernel reads ahead of what is read through the page cache, so
  /// that the next piece would be there too, and so in time the whole file, each at the cost of a copy on the
  /// cores that compute.
  ReadFrom best_source(std::span<const std::byte> mapped) const;
  /// Begins to bring bytes begin to end into the page cache.
  void will_need(uint64_t begin, uint64_t end) const;
  /// Bytes begin to end of the file, in `buffer`, which begins with a page and holds all pages of the range;
  /// `mapped` is the same range in memory, and what is given where the file can no longer be opened. The page
  /// cache is read as a file too, not as `mapped`: a file that has become shorter is then an error and not a
  /// signal. Throws IoError naming the file.
  std::span<const std::byte> read(uint64_t begin, uint64_t end, std::span<const std::byte> mapped,
                                  std::byte* buffer, ReadFrom source) const;

 private:
  std::string path_;
  int direct_, buffered_;  // negative where the file cannot be opened so
};

}  // namespace diffract::weights
