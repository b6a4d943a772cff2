#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "diffract/io/image.h"

namespace diffract::io {

/// What the header of a picture says.
struct PictureHeader {
  uint32_t width, height;  // as they are stored
  int orientation = 1;     // 1 to 8, as Exif has it

  /// The picture lies on its side.
  bool is_turned() const { return orientation > 4; }
  uint32_t shown_width() const { return is_turned() ? height : width; }
  uint32_t shown_height() const { return is_turned() ? width : height; }
};

// Pictures from outside: PNG, JPEG and WebP, told by their first bytes. All throw UsageError beginning with
// `source` for what is none of them or damaged, and for more than kMostPicturePixels or sides beyond
// kMostPictureSide, before memory is taken for them.

inline constexpr uint64_t kMostPicturePixels = 89'478'485;  // where Pillow warns of a decompression bomb
inline constexpr uint32_t kMostPictureSide = 65'535;
inline constexpr uint64_t kMostPictureFileBytes = uint64_t{512} << 20;

PictureHeader read_picture_header(std::span<const std::byte> bytes, const std::string& source);
/// 8-bit RGB as diffusers.utils.load_image gives it: turned as Exif says; palettes and grey become colours,
/// transparency is dropped and not blended, 16 bits become their high byte, but 16-bit grey is cut at 255.
Image decode_picture(std::span<const std::byte> bytes, const std::string& source);
/// The same of a file: diffusers.utils.load_image. Throws IoError where it cannot be read.
Image load_image(const std::filesystem::path& file);
/// The bytes of a picture's file. Throws UsageError for one that is missing, empty, no regular file or larger
/// than kMostPictureFileBytes.
std::string load_picture_bytes(const std::filesystem::path& file);

/// Throws UsageError for a size that is beyond the bounds.
void check_picture_size(uint64_t width, uint64_t height, const std::string& source);

}  // namespace diffract::io
