#include "diffract/pipelines/picture_fit.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/io/resample.h"

namespace diffract::pipelines {
namespace {

using io::Image, io::Region;

int64_t width_of(const Image& image) { return image.width; }
int64_t height_of(const Image& image) { return image.height; }

Image resized(const Image& image, int64_t width, int64_t height) {
  return io::resize(image, static_cast<uint32_t>(width), static_cast<uint32_t>(height), io::Filter::lanczos);
}

// Of the size, with `image` in its middle.
Image centred(const Image& image, const loading::ImageSize& size) {
  Image out{.width = static_cast<uint32_t>(size.width),
            .height = static_cast<uint32_t>(size.height),
            .channels = image.channels,
            .pixels = {}};
  out.pixels.resize(size_t{out.width} * out.height * out.channels);
  paste(out, image, size.width / 2 - width_of(image) / 2, size.height / 2 - height_of(image) / 2);
  return out;
}

// A line at the edge of `image`, between two points of its outline, stretched into an area.
Image from_edge(const Image& image, int64_t width, int64_t height, const io::Box& edge) {
  return io::resize(image, static_cast<uint32_t>(width), static_cast<uint32_t>(height), io::Filter::bicubic,
                    edge);
}

double proportion(const loading::ImageSize& size) {
  return static_cast<double>(size.width) / static_cast<double>(size.height);
}
loading::ImageSize size_of(const Image& image) {
  return {.height = height_of(image), .width = width_of(image)};
}

// The smallest with all that is not black; empty where all is.
Region bounds_of(const Image& grey) {
  Region region{.left = width_of(grey), .top = height_of(grey), .right = 0, .bottom = 0};
  const uint8_t* pixel = grey.pixels.data();
  for (int64_t y = 0; y < height_of(grey); ++y)
    for (int64_t x = 0; x < width_of(grey); ++x)
      if (*pixel++ != 0) {
        region.left = std::min(region.left, x);
        region.right = std::max(region.right, x + 1);
        region.top = std::min(region.top, y);
        region.bottom = std::max(region.bottom, y + 1);
      }
  return region;
}

// Whole pixels, truncated as Python's int() does.
int64_t missing(double wanted, int64_t has) {
  return static_cast<int64_t>(wanted - static_cast<double>(has));
}

// Makes [begin, end) longer by `more`, on both sides and inside [0, size) where it can be.
void lengthen(int64_t& begin, int64_t& end, int64_t more, int64_t size) {
  begin -= more / 2;
  end += more - more / 2;
  if (end >= size) {
    begin -= end - size;
    end = size;
  }
  if (begin < 0) {
    end -= begin;
    begin = 0;
  }
  end = std::min(end, size);
}

// Pillow's division by 255, rounded.
uint32_t by_255(uint32_t value) {
  value += 128;
  return ((value >> 8) + value) >> 8;
}

// One value of the picture over what was drawn, by how much of the picture stays. Pillow keeps the picture
// multiplied by its opacity in 8 bits, divides that out again, and blends with 7 bits more.
uint8_t blended(uint32_t picture, uint32_t drawn, uint32_t opacity) {
  if (opacity == 0) return static_cast<uint8_t>(drawn);
  const uint32_t premultiplied = by_255(picture * opacity);
  const uint32_t straight = std::min(opacity == 255 ? premultiplied : 255 * premultiplied / opacity, 255u);
  constexpr uint32_t kBits = 7;
  const uint32_t share = opacity << kBits, rest = (255u << kBits) - share;
  const uint32_t sum = straight * share + drawn * rest + (0x80u << kBits);
  return static_cast<uint8_t>(((sum >> 8) + sum) >> 8 >> kBits);
}

}  // namespace

Image stretched(const Image& image, const loading::ImageSize& size) {
  return resized(image, size.width, size.height);
}

Image fitted_with_border(const Image& image, const loading::ImageSize& size) {
  const double wanted = proportion(size), has = proportion(size_of(image));
  const int64_t width = wanted < has ? size.width : width_of(image) * size.height / height_of(image);
  const int64_t height = wanted >= has ? size.height : height_of(image) * size.width / width_of(image);
  if (width < 1 || height < 1)
    throw UsageError("a picture of {}x{} pixels is too narrow to be fitted into {}x{}", image.width,
                     image.height, size.width, size.height);
  const Image inner = resized(image, width, height);
  Image out = centred(inner, size);
  const auto right = static_cast<float>(width), bottom = static_cast<float>(height);
  const int64_t above = size.height / 2 - height / 2, beside = size.width / 2 - width / 2;
  if (wanted < has && above > 0) {
    paste(out, from_edge(inner, size.width, above, {.left = 0, .top = 0, .right = right, .bottom = 0}), 0, 0);
    paste(out,
          from_edge(inner, size.width, above, {.left = 0, .top = bottom, .right = right, .bottom = bottom}),
          0, above + height);
  }
  if (wanted > has && beside > 0) {
    paste(out, from_edge(inner, beside, size.height, {.left = 0, .top = 0, .right = 0, .bottom = bottom}), 0,
          0);
    paste(out,
          from_edge(inner, beside, size.height, {.left = right, .top = 0, .right = right, .bottom = bottom}),
          beside + width, 0);
  }
  return out;
}

Image fitted_to_cover(const Image& image, const loading::ImageSize& size) {
  const double wanted = proportion(size), has = proportion(size_of(image));
  const int64_t width = wanted > has ? size.width : width_of(image) * size.height / height_of(image);
  const int64_t height = wanted <= has ? size.height : height_of(image) * size.width / width_of(image);
  return centred(resized(image, std::max<int64_t>(width, 1), std::max<int64_t>(height, 1)), size);
}

Region region_of_mask(const Image& mask, const loading::ImageSize& size, int64_t padding) {
  Region region = bounds_of(io::as_grey(mask));
  if (region.width() <= 0)
    throw UsageError("mask_image: is all black, so that nothing is painted anew; make white what is to be");
  const int64_t width = width_of(mask), height = height_of(mask);
  region = {.left = std::max<int64_t>(region.left - padding, 0),
            .top = std::max<int64_t>(region.top - padding, 0),
            .right = std::min(region.right + padding, width),
            .bottom = std::min(region.bottom + padding, height)};
  const double has = proportion({.height = region.height(), .width = region.width()});
  const double wanted = proportion(size);
  if (has > wanted)
    lengthen(region.top, region.bottom,
             missing(static_cast<double>(region.width()) / wanted, region.height()), height);
  else
    lengthen(region.left, region.right,
             missing(static_cast<double>(region.height()) * wanted, region.width()), width);
  return region;
}

Image overlaid(const Image& picture, const Image& mask, const Image& drawn, const Region& region) {
  const Image grey = io::as_grey(mask);
  Image out{.width = picture.width, .height = picture.height, .pixels = {}};
  out.pixels.resize(picture.pixels.size());
  paste(out, fitted_to_cover(drawn, {.height = region.height(), .width = region.width()}), region.left,
        region.top);
  for (size_t i = 0; i < out.pixels.size(); ++i)
    out.pixels[i] = blended(picture.pixels[i], out.pixels[i], 255u - grey.pixels[i / 3]);
  return out;
}

}  // namespace diffract::pipelines
