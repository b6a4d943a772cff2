#pragma once
#include <string>

namespace diffract::launch {

/// NVIDIA devices of this machine that CUDA_VISIBLE_DEVICES leaves.
int visible_gpus();
/// This machine's name.
std::string host_name();

}  // namespace diffract::launch
