#pragma once
#include <ATen/ATen.h>

#include "diffract/core/heartbeat.h"

namespace diffract::nn {

/// Tells the launcher how large the operation is that follows, so that a large one on a slow machine is not
/// taken for a hang: 1 s for each GFLOP (the slowest arithmetic met on a CPU, float16 without instructions
/// for it) and for each 20 MB of weights, which may have to come from a disk; 1 s for each TFLOP on a GPU,
/// which is waited for later.
inline void expect_work(const at::Tensor& input, double flops, size_t weight_bytes = 0) {
  if (!input.device().is_cpu()) {
    heartbeat_queued(std::chrono::milliseconds(static_cast<int64_t>(flops / 1e9)));
    return;
  }
  const double seconds = flops / 1e9 + static_cast<double>(weight_bytes) / 20e6;
  heartbeat(std::chrono::seconds(static_cast<int64_t>(seconds)));
}

}  // namespace diffract::nn
