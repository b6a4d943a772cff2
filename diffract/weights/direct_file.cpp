#include "diffract/weights/direct_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/weights/part.h"

namespace diffract::weights {

DirectFile::DirectFile(const io::SafetensorsFile& file)
    : path_(file.path().string()),
      direct_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT)),
      buffered_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {}

DirectFile::~DirectFile() {
  if (direct_ >= 0) ::close(direct_);
  if (buffered_ >= 0) ::close(buffered_);
}

ReadFrom DirectFile::best_source(std::span<const std::byte> mapped) const {
  const auto address = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t first = address / kPage * kPage;
  const uint64_t size = address + mapped.size() - first;
  std::vector<unsigned char> pages((size + kPage - 1) / kPage);
  void* begin = const_cast<std::byte*>(mapped.data()) - (address - first);
  if (::mincore(begin, size, pages.data()) != 0) return ReadFrom::disk;
  const bool has_all = std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; });
  return has_all ? ReadFrom::page_cache : ReadFrom::disk;
}

void DirectFile::will_need(uint64_t begin, uint64_t end) const {
  if (buffered_ >= 0)  // it only helps
    ::posix_fadvise(buffered_, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                    POSIX_FADV_WILLNEED);
}

std::span<const std::byte> DirectFile::read(uint64_t begin, uint64_t end, std::span<const std::byte> mapped,
                                            std::byte* buffer, ReadFrom source) const {
  int descriptor = direct_ < 0 || source == ReadFrom::page_cache ? buffered_ : direct_;
  const uint64_t first = begin / kPage * kPage, size = rounded_up(end - first, kPage);
  uint64_t done = 0;
  while (first + done < end) {
    if (descriptor < 0) return mapped;
    const ssize_t got = ::pread(descriptor, buffer + done, size - done, static_cast<off_t>(first + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EINVAL && descriptor == direct_) {
      descriptor = buffered_;  // some file systems open for direct reads, but have none
      continue;
    }
    if (got < 0)
      throw IoError("{}: cannot be read at byte {}: {}", path_, first + done, std::strerror(errno));
    if (got == 0)
      throw IoError("{}: ends at byte {}; it was longer when it was opened. Was it replaced meanwhile?",
                    path_, first + done);
    done += static_cast<uint64_t>(got);
  }
  return {buffer + (begin - first), end - begin};
}

}  // namespace diffract::weights
