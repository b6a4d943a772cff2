#pragma once
#include <cstdint>
#include <functional>

namespace diffract::models {

/// What a computation takes that runs on tensors without data (the meta device).
struct Cost {
  int64_t peak_bytes = 0;  // most of what is alive at once of the tensors that it makes
  double flops = 0;        // of matrix products, convolutions and attention
};

/// Runs `compute` and counts what the CPU's kernels would allocate and calculate. One computation at a time
/// in a process; a second waits.
Cost measure_on_meta(const std::function<void()>& compute);

}  // namespace diffract::models
