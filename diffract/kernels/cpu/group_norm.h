// A kernel for CPUs takes pointers and sizes, as one for GPUs does: its source is compiled once for each kind
// of processor, so it may include nothing whose inline functions another file could end up with.
#pragma once
#include <cstdint>

namespace diffract::kernels::cpu {

/// GroupNorm of one group of one image, float32: `channels` maps of `pixels` each, one behind the other.
struct GroupNormWork {
  const float* x;
  const float* addend;  // [channels], added first; or null
  const float* weight;  // [channels]
  const float* bias;    // [channels]
  float* out;           // as x; may be x
  int64_t channels, pixels;
  double eps;
  bool silu;
};

}  // namespace diffract::kernels::cpu
