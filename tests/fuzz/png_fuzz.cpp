#include <cstdint>

#include "diffract/core/error.h"
#include "diffract/io/png.h"
#include "tests/fuzz/fuzz_picture.h"

// Any bytes as a PNG: an error, or a picture whose pixels are all there. Pictures of more than a few
// megapixels are left out: the fuzzer would spend its minute on their pixels.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 24 && (data[16] || data[17] || data[20] || data[21]))
    return 0;  // width or height of 65,536 and more
  if (size >= 24 && (data[18] > 8 || data[22] > 8)) return 0;
  diffract::test::fuzz_picture(data, size);
  try {
    const auto png = diffract::io::decode_png({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    const auto& image = png.image;
    if (image.pixels.size() != uint64_t{image.width} * image.height * image.channels) __builtin_trap();
  } catch (const diffract::Error&) {
  }
  return 0;
}
