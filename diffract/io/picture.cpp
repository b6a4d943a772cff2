#include "diffract/io/picture.h"

#include <algorithm>
#include <string_view>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/io/picture_formats.h"

namespace diffract::io {
namespace {

using Bytes = std::span<const std::byte>;

struct Format {
  bool (*is)(std::string_view begin);
  PictureHeader (*header)(Bytes bytes, const std::string& source);
  Image (*decode)(Bytes bytes, const std::string& source);
};

constexpr Format kFormats[] = {
    {[](std::string_view begin) { return begin.starts_with("\x89PNG\r\n\x1a\n"); }, read_png_header,
     decode_png_rgb},
    {[](std::string_view begin) { return begin.starts_with("\xff\xd8\xff"); }, read_jpeg_header,
     decode_jpeg_rgb},
    {[](std::string_view begin) { return begin.starts_with("RIFF") && begin.substr(8).starts_with("WEBP"); },
     read_webp_header, decode_webp_rgb}};

// What else people give, for the message.
std::string_view other_format(std::string_view begin) {
  if (begin.starts_with("GIF8")) return "a GIF";
  if (begin.starts_with("BM")) return "a BMP";
  if (begin.starts_with("II*") || begin.starts_with(std::string_view("MM\0*", 4))) return "a TIFF";
  if (begin.substr(4).starts_with("ftypavif")) return "an AVIF";
  if (begin.substr(4).starts_with("ftyp")) return "an HEIC picture or a film";
  if (begin.starts_with("\xff\x0a") || begin.substr(4).starts_with("JXL ")) return "a JPEG XL";
  return "no picture";
}

const Format& format_of(Bytes bytes, const std::string& source) {
  constexpr size_t kBegin = 16;
  std::string begin(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kBegin));
  begin.resize(kBegin);
  for (const Format& format : kFormats)
    if (format.is(begin)) return format;
  throw UsageError("{}: is {}; expected PNG, JPEG or WebP", source, other_format(begin));
}

// From the stored place of the pixel that is shown at (x, y): the inverse of how Exif numbers the ways.
Image turned(Image image, int orientation) {
  if (orientation == 1) return image;
  const PictureHeader header{.width = image.width, .height = image.height, .orientation = orientation};
  const uint32_t w = image.width, h = image.height;
  Image out{.width = header.shown_width(), .height = header.shown_height(), .pixels = {}};
  out.pixels.resize(image.pixels.size());
  const bool flips_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flips_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  uint8_t* to = out.pixels.data();
  for (uint32_t y = 0; y < out.height; ++y)
    for (uint32_t x = 0; x < out.width; ++x, to += 3) {
      uint32_t from_x = header.is_turned() ? y : x, from_y = header.is_turned() ? x : y;
      if (flips_x) from_x = w - 1 - from_x;
      if (flips_y) from_y = h - 1 - from_y;
      std::copy_n(image.pixels.data() + (size_t{from_y} * w + from_x) * 3, 3, to);
    }
  return out;
}

}  // namespace

void check_picture_size(uint64_t width, uint64_t height, const std::string& source) {
  if (width == 0 || height == 0 || width > kMostPictureSide || height > kMostPictureSide ||
      width * height > kMostPicturePixels)
    throw UsageError("{}: is a picture of {}x{} pixels; expected at most {} in all, and {} each way", source,
                     width, height, kMostPicturePixels, kMostPictureSide);
}

PictureHeader read_picture_header(Bytes bytes, const std::string& source) {
  return format_of(bytes, source).header(bytes, source);
}

Image decode_picture(Bytes bytes, const std::string& source) {
  const Format& format = format_of(bytes, source);
  const PictureHeader header = format.header(bytes, source);  // its bounds, first
  return turned(format.decode(bytes, source), header.orientation);
}

std::string load_picture_bytes(const std::filesystem::path& file) {
  try {
    std::string bytes = load_text(file, kMostPictureFileBytes);
    if (bytes.empty()) throw UsageError("{}: is empty; expected a picture", file.string());
    return bytes;
  } catch (const CheckpointError& error) {  // the file is the user's, not a model's
    throw UsageError("{}", error.what());
  }
}

Image load_image(const std::filesystem::path& file) {
  const std::string bytes = load_picture_bytes(file);
  return decode_picture(std::as_bytes(std::span(bytes)), file.string());
}

}  // namespace diffract::io
