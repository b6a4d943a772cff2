#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "diffract/core/error.h"
#include "diffract/io/picture.h"

namespace diffract::test {

/// Any bytes as a picture from outside: an error, or RGB pixels that are all there. Pictures of more than a
/// few megapixels are left out: the fuzzer would spend its minute on their pixels.
inline void fuzz_picture(const uint8_t* data, size_t size) {
  constexpr uint64_t kMostPixels = 1 << 22;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto header = io::read_picture_header(bytes, "fuzz");
    if (uint64_t{header.width} * header.height > kMostPixels) return;
    const auto image = io::decode_picture(bytes, "fuzz");
    if (image.pixels.size() != uint64_t{image.width} * image.height * 3) __builtin_trap();
    if (image.width != header.shown_width() || image.height != header.shown_height()) __builtin_trap();
  } catch (const UsageError&) {
  }
}

}  // namespace diffract::test
