#pragma once
#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "diffract/core/error.h"

namespace diffract::tensor {

/// What call() gives; libtorch's ways of saying that memory ran out, of the host or of a device, come out as
/// MemoryError.
template <typename Call>
auto with_memory_errors(Call&& call) {
  const auto first_line = [](const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    return what.substr(0, what.find('\n'));
  };
  constexpr const char* kAdvice =
      "Make smaller pictures or batches (--height, --width, --batch-size), or let more of the model stay in "
      "CPU memory or "
      "on disk (--device-map auto, --max-memory)";
  try {
    return call();
  } catch (const std::bad_alloc&) {
    throw MemoryError("out of host memory. {}", kAdvice);
  } catch (const c10::OutOfMemoryError& error) {
    throw MemoryError("out of device memory: {}. {}", first_line(error), kAdvice);
  } catch (const c10::Error& error) {
    const auto says = [&](const char* part) { return first_line(error).find(part) != std::string::npos; };
    if (says("can't allocate memory"))
      throw MemoryError("out of host memory: {}. {}", first_line(error), kAdvice);
    // A library of CUDA's that takes memory past libtorch's allocator: for kernels, graphs, handles.
    // cuDNN's tries end with "unable to find an engine" when none of them got its workspace.
    if (says("out of memory") || says("_ALLOC_FAILED") || says("unable to find an engine"))
      throw MemoryError("out of device memory: {}. {}", first_line(error), kAdvice);
    throw;
  }
}

}  // namespace diffract::tensor
