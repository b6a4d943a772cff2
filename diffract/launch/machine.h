#pragma once
#include <string>

namespace diffract::launch {

/// CPUs that this process may use, and of those the cores (not counting a core's second thread).
int usable_cpus();
int usable_cores();
/// NVIDIA devices of this machine that CUDA_VISIBLE_DEVICES leaves.
int visible_gpus();
/// This machine's name.
std::string host_name();

}  // namespace diffract::launch
