#pragma once
#include <string>
#include <string_view>

namespace diffract::kernels {

/// A GPU as its driver describes it.
struct Gpu {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int major, minor;  // its compute capability
};

/// True when kernels that were compiled for `architectures` (CMAKE_CUDA_ARCHITECTURES, e.g. "80-real;90", or
/// with ',' between) run on a GPU of this compute capability. Machine code runs on GPUs of the same major
/// number and no lesser minor one, intermediate code on all that are no older; "90a" and "100f" are for that
/// GPU and that family. Names that say no number, such as "native", are taken to fit.
bool kernels_run_on(std::string_view architectures, int major, int minor);

/// Why a GPU cannot be used, and what to do; empty when it can.
std::string why_gpu_is_unusable(const Gpu& gpu, int index, std::string_view architectures);

/// Why a driver cannot be used; empty when it can. Versions are CUDA's numbers: 13000 is 13.0, 0 no driver.
std::string why_driver_is_unusable(int driver, int needed);

}  // namespace diffract::kernels
