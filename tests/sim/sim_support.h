#pragma once
#include <string>

#include "diffract/tensor/dtype.h"
#include "tests/sim/sim_backend.h"

namespace diffract::sim {

inline SimBackend& backend() { return static_cast<SimBackend&>(*tensor::find_backend("sim")); }
inline at::Device device(int index) { return tensor::parse_device("sim:" + std::to_string(index)); }

}  // namespace diffract::sim
