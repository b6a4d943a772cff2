#include "diffract/io/exif.h"

namespace diffract::io {
namespace {

constexpr int kUpright = 1;
constexpr uint64_t kOrientationTag = 274;

int checked(uint64_t orientation) {
  return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : kUpright;
}

// Numbers of a TIFF file; 0 beyond its end.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    is_big_ = at(0) == 'M' && at(1) == 'M';
    is_sound_ = (is_big_ || (at(0) == 'I' && at(1) == 'I')) && number(2, 2) == 42;
  }
  bool is_sound() const { return is_sound_; }
  size_t size() const { return bytes_.size(); }
  uint64_t number(uint64_t offset, uint64_t width) const {
    uint64_t value = 0;
    for (uint64_t i = 0; i < width; ++i) value = value << 8 | at(offset + (is_big_ ? i : width - 1 - i));
    return value;
  }

 private:
  uint64_t at(uint64_t offset) const {
    return offset < bytes_.size() ? std::to_integer<uint64_t>(bytes_[offset]) : 0;
  }
  std::span<const std::byte> bytes_;
  bool is_big_ = false, is_sound_ = false;
};

bool begins_with(std::span<const std::byte> bytes, std::string_view text) {
  if (bytes.size() < text.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (std::to_integer<char>(bytes[i]) != text[i]) return false;
  return true;
}

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  while (begins_with(exif, kPrefix)) exif = exif.subspan(kPrefix.size());
  const Tiff tiff(exif);
  if (!tiff.is_sound()) return kUpright;
  const uint64_t directory = tiff.number(4, 4), entries = tiff.number(directory, 2);
  constexpr uint64_t kEntryBytes = 12;
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > tiff.size()) break;
    if (tiff.number(entry, 2) != kOrientationTag || tiff.number(entry + 4, 4) != 1) continue;
    // Types of TIFF: a byte, two bytes, four bytes.
    const uint64_t type = tiff.number(entry + 2, 2), width = type == 1   ? 1
                                                             : type == 3 ? 2
                                                             : type == 4 ? 4
                                                                         : 0;
    return width == 0 ? kUpright : checked(tiff.number(entry + 8, width));
  }
  return kUpright;
}

int xmp_orientation(std::string_view xmp) {
  for (const std::string_view name : {"tiff:Orientation=\"", "tiff:Orientation>"})
    if (const size_t at = xmp.find(name); at != std::string_view::npos && at + name.size() < xmp.size())
      return checked(static_cast<uint64_t>(xmp[at + name.size()]) - '0');
  return kUpright;
}

}  // namespace diffract::io
