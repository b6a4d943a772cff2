#include "tests/fuzz/fuzz_picture.h"

// Any bytes as a WebP.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  diffract::test::fuzz_picture(data, size);
  return 0;
}
