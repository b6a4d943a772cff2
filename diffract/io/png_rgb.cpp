#include <spng.h>

#include <algorithm>
#include <memory>

#include "diffract/core/error.h"
#include "diffract/io/exif.h"
#include "diffract/io/picture_formats.h"

namespace diffract::io {
namespace {

constexpr size_t kMostChunkBytes = 64 << 20;

// A PNG that is read.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& source)
      : source_(source), context_(spng_ctx_new(0), spng_ctx_free) {
    check(spng_set_image_limits(context_.get(), kMostPictureSide, kMostPictureSide));
    check(spng_set_chunk_limits(context_.get(), kMostChunkBytes, kMostChunkBytes));
    check(spng_set_png_buffer(context_.get(), bytes.data(), bytes.size()));
    const int code = spng_get_ihdr(context_.get(), &header);
    // libspng's own bounds come before ours; its words for them say no number.
    if (code == SPNG_EUSER_WIDTH || code == SPNG_EUSER_HEIGHT)
      throw UsageError("{}: is a picture of more than {} pixels each way", source_, kMostPictureSide);
    check(code);
    check_picture_size(header.width, header.height, source_);
  }

  void decode(std::span<std::byte> to, int format) {
    size_t size = 0;
    check(spng_decoded_image_size(context_.get(), format, &size));
    if (size != to.size()) throw InternalError("{}: has {} bytes, not {}", source_, size, to.size());
    check(spng_decode_image(context_.get(), to.data(), size, format, 0));
  }

  spng_ihdr header{};

 private:
  void check(int code) const {
    if (code) throw UsageError("{}: not a sound PNG: {}", source_, spng_strerror(code));
  }
  const std::string& source_;
  std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context_;
};

uint32_t big_endian(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

// Exif may stand behind the pixels, which libspng does not give without decoding them; nor does it ask for
// what comes behind the last pixel. Throws UsageError for a file that ends before its last chunk does.
int orientation_of(std::span<const std::byte> bytes, const std::string& source) {
  constexpr size_t kSignature = 8, kAround = 12;  // length and type before, a checksum behind
  std::span<const std::byte> exif, xmp;
  std::string_view type;
  for (size_t at = kSignature; type != "IEND";) {
    const size_t left = bytes.size() - at;
    const uint64_t length = left < kAround ? left : big_endian(bytes, at);
    if (left < kAround || length > left - kAround)
      throw UsageError("{}: not a sound PNG: its end is missing", source);
    type = std::string_view(reinterpret_cast<const char*>(bytes.data()) + at + 4, 4);
    const auto data = bytes.subspan(at + 8, length);
    if (type == "eXIf") exif = data;
    if (type == "iTXt") xmp = data;
    at += kAround + length;
  }
  if (const int orientation = exif_orientation(exif); orientation != 1) return orientation;
  const std::string_view text(reinterpret_cast<const char*>(xmp.data()), xmp.size());
  return text.starts_with("XML:com.adobe.xmp") ? xmp_orientation(text) : 1;
}

}  // namespace

PictureHeader read_png_header(std::span<const std::byte> bytes, const std::string& source) {
  const Reader reader(bytes, source);
  return {.width = reader.header.width,
          .height = reader.header.height,
          .orientation = orientation_of(bytes, source)};
}

Image decode_png_rgb(std::span<const std::byte> bytes, const std::string& source) {
  Reader reader(bytes, source);
  const spng_ihdr& header = reader.header;
  Image image{.width = header.width, .height = header.height, .pixels = {}};
  const size_t pixels = size_t{header.width} * header.height;
  image.pixels.resize(pixels * 3);
  if (header.color_type != SPNG_COLOR_TYPE_GRAYSCALE || header.bit_depth != 16) {
    reader.decode(std::as_writable_bytes(std::span(image.pixels)), SPNG_FMT_RGB8);
    return image;
  }
  // Pillow cuts at 255 what libspng would divide by 256.
  std::vector<uint16_t> grey(pixels);
  reader.decode(std::as_writable_bytes(std::span(grey)), SPNG_FMT_PNG);
  for (size_t i = 0; i < pixels; ++i)
    std::fill_n(image.pixels.data() + 3 * i, 3, static_cast<uint8_t>(std::min<uint16_t>(grey[i], 255)));
  return image;
}

}  // namespace diffract::io
