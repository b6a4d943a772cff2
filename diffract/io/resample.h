#pragma once
#include "diffract/io/image.h"

namespace diffract::io {

/// Filters of Pillow, by its names.
enum class Filter { bicubic, lanczos };

/// A part of a picture, in pixels from its upper left corner; it may be empty, where a border is stretched.
struct Box {
  float left, top, right, bottom;
};

/// The part `box` of `image` with `width` x `height` pixels, as Pillow's Image.resize gives it to the last
/// bit: across, then down, or down first where that loses much more; in fixed point, with 8 bits between
/// them. Every channel for itself.
/// Source: Pillow, src/libImaging/Resample.c.
Image resize(const Image& image, uint32_t width, uint32_t height, Filter filter, const Box& box);
/// The whole picture.
Image resize(const Image& image, uint32_t width, uint32_t height, Filter filter);

}  // namespace diffract::io
