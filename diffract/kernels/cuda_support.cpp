#include "diffract/kernels/cuda_support.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace diffract::kernels {
namespace {

// One entry of the list: "90", "90-real", "90-virtual", "90a", "100f".
bool runs_on(std::string_view entry, int major, int minor) {
  int number = 0;
  const auto [end, failure] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
  if (failure != std::errc()) return true;
  const std::string_view suffix = entry.substr(static_cast<size_t>(end - entry.data()));
  const int built_major = number / 10, built_minor = number % 10;
  if (suffix.starts_with("a")) return major == built_major && minor == built_minor;
  const bool machine_code_fits = major == built_major && minor >= built_minor;
  if (suffix.starts_with("f") || suffix == "-real") return machine_code_fits;
  return major > built_major || machine_code_fits;
}

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

}  // namespace

bool kernels_run_on(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const size_t end = std::min(architectures.find_first_of(";,"), architectures.size());
    if (end > 0 && runs_on(architectures.substr(0, end), major, minor)) return true;
    architectures.remove_prefix(std::min(end + 1, architectures.size()));
  }
  return false;
}

std::string why_gpu_is_unusable(const Gpu& gpu, int index, std::string_view architectures) {
  if (kernels_run_on(architectures, gpu.major, gpu.minor)) return "";
  return fmt::format(
      "this build has no kernels for GPU {} ({}, compute capability {}.{}), only for {}. Build it with "
      "-D DIFFRACT_CUDA_ARCHITECTURES={}{}, or leave the GPU out with CUDA_VISIBLE_DEVICES",
      index, gpu.name, gpu.major, gpu.minor, architectures, gpu.major, gpu.minor);
}

std::string why_driver_is_unusable(int driver, int needed) {
  if (driver >= needed) return "";
  if (driver == 0)
    return fmt::format("there is no NVIDIA driver (libcuda.so.1). Install one for CUDA {} (580 or newer)",
                       version(needed));
  return fmt::format("the NVIDIA driver is for CUDA {}; expected {} (driver 580 or newer). Update it",
                     version(driver), version(needed));
}

}  // namespace diffract::kernels
