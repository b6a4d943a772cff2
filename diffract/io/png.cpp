#include "diffract/io/png.h"

#include <spng.h>

#include <memory>

#include "diffract/core/error.h"
#include "diffract/core/file.h"

namespace diffract::io {
namespace {

constexpr uint32_t kMaxSide = 16384;
constexpr size_t kMaxChunkBytes = 64 << 20;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 31;

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

}  // namespace

void save_png(const std::filesystem::path& file, const Image& image, const std::vector<PngText>& texts) {
  AtomicFile out(file);
  out.write(encode_png(image, texts));
  out.commit();
}

void Image::save(const std::filesystem::path& file) const { save_png(file, *this); }

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
    for (const spng_text& chunk : chunks)
      png.texts.push_back({chunk.keyword, std::string(chunk.text, chunk.length)});
  }
  return png;
}

Png load_png(const std::filesystem::path& file) {
  const std::string bytes = load_text(file, kMaxFileBytes);
  return decode_png(std::as_bytes(std::span(bytes)), file.string());
}

}  // namespace diffract::io
