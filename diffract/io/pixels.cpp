#include "diffract/io/pixels.h"

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::io {

Image as_rgb(Image image) {
  if (image.channels == 3) return image;
  Image rgb{.width = image.width, .height = image.height, .pixels = {}};
  rgb.pixels.reserve(image.pixels.size() * 3);
  for (const uint8_t grey : image.pixels) rgb.pixels.insert(rgb.pixels.end(), 3, grey);
  return rgb;
}

Image as_grey(const Image& image) {
  if (image.channels == 1) return image;
  Image grey{.width = image.width, .height = image.height, .channels = 1, .pixels = {}};
  grey.pixels.resize(image.pixels.size() / 3);
  const uint8_t* from = image.pixels.data();
  for (uint8_t& to : grey.pixels) {
    to = static_cast<uint8_t>((19595u * from[0] + 38470u * from[1] + 7471u * from[2] + 0x8000u) >> 16);
    from += 3;
  }
  return grey;
}

Image cropped(const Image& image, const Region& region) {
  Image out{.width = static_cast<uint32_t>(region.width()),
            .height = static_cast<uint32_t>(region.height()),
            .channels = image.channels,
            .pixels = {}};
  out.pixels.resize(size_t{out.width} * out.height * out.channels);
  paste(out, image, -region.left, -region.top);
  return out;
}

void paste(Image& onto, const Image& image, int64_t left, int64_t top) {
  if (onto.channels != image.channels)
    throw InternalError("a picture of {} channels pasted onto one of {}", image.channels, onto.channels);
  const int64_t begin = std::max<int64_t>(left, 0),
                end = std::min<int64_t>(left + image.width, int64_t{onto.width});
  if (begin >= end) return;
  const auto offset = [](const Image& of, int64_t x, int64_t y) {
    return static_cast<size_t>((y * of.width + x) * of.channels);
  };
  const int64_t last = std::min<int64_t>(top + image.height, int64_t{onto.height});
  for (int64_t y = std::max<int64_t>(top, 0); y < last; ++y)
    std::copy_n(image.pixels.data() + offset(image, begin - left, y - top), (end - begin) * onto.channels,
                onto.pixels.data() + offset(onto, begin, y));
}

}  // namespace diffract::io
