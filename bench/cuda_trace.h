#pragma once
#include <functional>
#include <string>

#include "diffract/tensor/device_backend.h"

namespace diffract::bench {

/// Writes down what this thread asks of the GPU and what the GPU does, kernel by kernel. One at a time.
class CudaTrace {
 public:
  CudaTrace();  // begins
  /// Ends, when the GPU is done, and writes a Chrome trace.
  void save(const std::string& file);
};

/// A trace of `work`.
void trace(const std::string& file, const std::function<void()>& work);

/// Before a program ends.
struct SettledAtTheEnd {
  SettledAtTheEnd() = default;
  SettledAtTheEnd(const SettledAtTheEnd&) = delete;
  SettledAtTheEnd& operator=(const SettledAtTheEnd&) = delete;
  ~SettledAtTheEnd() { tensor::await_backends(); }
};

}  // namespace diffract::bench
