#include <cstdint>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"

// Any bytes as a safetensors file: an error, or tensors that lie inside the file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto header =
        diffract::io::parse_safetensors_header({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    uint64_t end = 0;
    for (const auto& tensor : header.tensors) {
      if (tensor.begin != end || tensor.end < tensor.begin) __builtin_trap();
      end = tensor.end;
    }
    if (header.data_begin + end != size) __builtin_trap();
  } catch (const diffract::Error&) {
  }
  return 0;
}
