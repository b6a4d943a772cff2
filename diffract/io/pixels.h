#pragma once
#include "diffract/io/image.h"

namespace diffract::io {

// Pillow's operations on 8-bit pictures, to the last bit.

/// Grey as colours; RGB as it is. Source: Image.convert("RGB").
Image as_rgb(Image image);
/// RGB as grey, by ITU-R 601-2's weights; grey as it is. Source: Image.convert("L").
Image as_grey(const Image& image);

/// A rectangle of whole pixels; right and bottom are outside.
struct Region {
  int64_t left, top, right, bottom;
  int64_t width() const { return right - left; }
  int64_t height() const { return bottom - top; }
};
/// That part of a picture; what is outside it is black. Source: Image.crop.
Image cropped(const Image& image, const Region& region);
/// Puts a picture of as many channels onto another; what is outside that is left away. Source: Image.paste.
void paste(Image& onto, const Image& image, int64_t left, int64_t top);

}  // namespace diffract::io
