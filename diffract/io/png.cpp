#include "diffract/io/png.h"

#include <spng.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/lower_case.h"
#include "diffract/core/utf8.h"

namespace diffract::io {
namespace {

constexpr uint32_t kMaxSide = 16384;
constexpr size_t kMaxChunkBytes = 64 << 20;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 31;
constexpr size_t kMaxKeyBytes = 79;  // the format's own bound

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

bool is_plain_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

// libspng wants texts in arrays of its own; it reads them but does not change them.
spng_text to_spng(const PngText& text) {
  if (text.key.empty() || text.key.size() > kMaxKeyBytes)
    throw InternalError("PNG key \"{}\" is too long", text.key);
  spng_text chunk{};
  std::memcpy(chunk.keyword, text.key.c_str(), text.key.size() + 1);
  chunk.type = is_plain_ascii(text.value) ? SPNG_TEXT : SPNG_ITXT;
  chunk.length = text.value.size();
  chunk.text = const_cast<char*>(text.value.c_str());
  chunk.language_tag = chunk.translated_keyword = const_cast<char*>("");
  return chunk;
}

// The PNG specification says Latin-1 for keys and for the texts of tEXt and zTXt, but some programs put UTF-8
// into these; what is UTF-8 is hardly ever meant as Latin-1.
PngText from_spng(const spng_text& chunk) {
  PngText text{utf8_of_latin1(chunk.keyword), std::string(chunk.text, chunk.length)};
  if (chunk.type != SPNG_ITXT && !is_utf8(text.value)) text.value = utf8_of_latin1(text.value);
  return text;
}

uint8_t color_type(const Image& image) {
  switch (image.channels) {
    case 1:
      return SPNG_COLOR_TYPE_GRAYSCALE;
    case 3:
      return SPNG_COLOR_TYPE_TRUECOLOR;
    case 4:
      return SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    default:
      throw InternalError("a picture with {} channels has no PNG form", image.channels);
  }
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, const std::vector<PngText>& texts) {
  if (image.pixels.size() != uint64_t{image.width} * image.height * image.channels || image.pixels.empty())
    throw InternalError("a {}x{} picture with {} channels has {} bytes", image.width, image.height,
                        image.channels, image.pixels.size());
  const Context context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  const auto check = [](int code) {
    if (code) throw InternalError("PNG encoder: {}", spng_strerror(code));
  };
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  // A quarter of the time of zlib's default level, for files that are a seventh larger: 1024x1024 pixels at
  // that level take as long as five steps of FLUX on a fast GPU.
  check(spng_set_option(context.get(), SPNG_IMG_COMPRESSION_LEVEL, 1));
  spng_ihdr header{
      .width = image.width, .height = image.height, .bit_depth = 8, .color_type = color_type(image)};
  check(spng_set_ihdr(context.get(), &header));
  std::vector<spng_text> chunks;
  chunks.reserve(texts.size());
  for (const PngText& text : texts) chunks.push_back(to_spng(text));
  if (!chunks.empty())
    check(spng_set_text(context.get(), chunks.data(), static_cast<uint32_t>(chunks.size())));
  check(spng_encode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE));
  size_t size = 0;
  int code = 0;
  const std::unique_ptr<void, decltype(&std::free)> buffer(spng_get_png_buffer(context.get(), &size, &code),
                                                           std::free);
  check(code);
  const auto* begin = static_cast<const std::byte*>(buffer.get());
  return {begin, begin + size};
}

void save_png(const std::filesystem::path& file, const Image& image, const std::vector<PngText>& texts) {
  AtomicFile out(file);
  out.write(encode_png(image, texts));
  out.commit();
}

bool has_suffix(const std::filesystem::path& file, std::string_view suffix) {
  return lower_case(file.extension().string()) == suffix;
}

void require_png_name(const std::filesystem::path& file) {
  if (has_suffix(file, ".png")) return;
  throw UsageError("\"{}\": pictures are PNG; name it {}", file.string(),
                   std::filesystem::path(file).replace_extension(".png").string());
}

void Image::save(const std::filesystem::path& file) const {
  require_png_name(file);
  save_png(file, *this);
}

Png decode_png(std::span<const std::byte> bytes, const std::string& source) {
  const Context context(spng_ctx_new(0), spng_ctx_free);
  const auto check = [&](int code) {
    if (code) throw CheckpointError("{}: not a sound PNG: {}", source, spng_strerror(code));
  };
  check(spng_set_image_limits(context.get(), kMaxSide, kMaxSide));
  check(spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunkBytes));
  check(spng_set_png_buffer(context.get(), bytes.data(), bytes.size()));
  spng_ihdr header{};
  check(spng_get_ihdr(context.get(), &header));
  spng_trns transparency{};
  const bool has_alpha = header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA ||
                         header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
                         spng_get_trns(context.get(), &transparency) == 0;
  const int format = has_alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
  Png png;
  png.image = {.width = header.width, .height = header.height, .channels = has_alpha ? 4u : 3u, .pixels = {}};
  size_t size = 0;
  check(spng_decoded_image_size(context.get(), format, &size));
  png.image.pixels.resize(size);
  check(spng_decode_image(context.get(), png.image.pixels.data(), size, format, SPNG_DECODE_TRNS));
  check(spng_decode_chunks(context.get()));  // texts may stand behind the pixels

  uint32_t count = 0;
  if (spng_get_text(context.get(), nullptr, &count) == 0 && count > 0) {
    std::vector<spng_text> chunks(count);
    check(spng_get_text(context.get(), chunks.data(), &count));
    for (const spng_text& chunk : chunks) png.texts.push_back(from_spng(chunk));
  }
  return png;
}

Png load_png(const std::filesystem::path& file) {
  const std::string bytes = load_text(file, kMaxFileBytes);
  return decode_png(std::as_bytes(std::span(bytes)), file.string());
}

}  // namespace diffract::io
