#pragma once
#include <cstdint>

namespace diffract::models {

/// Latent height and width.
struct SampleSize {
  int64_t height, width;
};

}  // namespace diffract::models
