#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "diffract/core/error.h"
#include "diffract/io/exif.h"
#include "diffract/io/picture_formats.h"

namespace diffract::io {
namespace {

[[noreturn]] void refuse(const std::string& source) {
  throw UsageError("{}: not a sound WebP, or not all of one", source);
}

WebPData data_of(std::span<const std::byte> bytes) {
  return {.bytes = reinterpret_cast<const uint8_t*>(bytes.data()), .size = bytes.size()};
}

std::string_view chunk(const WebPDemuxer* demuxer, const char* name, WebPChunkIterator& at) {
  if (!WebPDemuxGetChunk(demuxer, name, 1, &at)) return {};
  return {reinterpret_cast<const char*>(at.chunk.bytes), at.chunk.size};
}

}  // namespace

PictureHeader read_webp_header(std::span<const std::byte> bytes, const std::string& source) {
  const WebPData data = data_of(bytes);
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (!demuxer) refuse(source);
  const uint32_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                 height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  check_picture_size(width, height, source);
  WebPChunkIterator at{};
  const std::string_view exif = chunk(demuxer.get(), "EXIF", at);
  int orientation = exif_orientation(std::as_bytes(std::span(exif)));
  WebPDemuxReleaseChunkIterator(&at);
  if (orientation == 1) {
    orientation = xmp_orientation(chunk(demuxer.get(), "XMP ", at));
    WebPDemuxReleaseChunkIterator(&at);
  }
  return {.width = width, .height = height, .orientation = orientation};
}

// By the decoder of animations, as Pillow: the first frame on its canvas.
Image decode_webp_rgb(std::span<const std::byte> bytes, const std::string& source) {
  const WebPData data = data_of(bytes);
  WebPAnimDecoderOptions options;
  if (!WebPAnimDecoderOptionsInit(&options)) throw InternalError("libwebp is of another version");
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  WebPAnimInfo info;
  uint8_t* canvas = nullptr;
  int timestamp = 0;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
      !WebPAnimDecoderGetNext(decoder.get(), &canvas, &timestamp))
    refuse(source);
  Image image{.width = info.canvas_width, .height = info.canvas_height, .pixels = {}};
  const size_t pixels = size_t{image.width} * image.height;
  image.pixels.resize(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) std::copy_n(canvas + 4 * i, 3, image.pixels.data() + 3 * i);
  return image;
}

}  // namespace diffract::io
