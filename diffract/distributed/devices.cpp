#include "diffract/distributed/devices.h"

#include <cstdlib>
#include <string_view>

#include "diffract/tensor/device_backend.h"

namespace diffract::distributed {
namespace {

bool is_true(const char* variable) {
  const char* value = std::getenv(variable);
  const std::string_view text = value ? value : "";
  return text == "1" || text == "true" || text == "True" || text == "yes";
}

int gpu_count() {
  if (is_true("ACCELERATE_USE_CPU")) return 0;
  const auto* cuda = tensor::find_backend("cuda");
  return cuda ? cuda->device_count() : 0;
}

}  // namespace

at::Device local_device(int local_rank) {
  const int gpus = gpu_count();
  if (gpus == 0) return at::kCPU;
  return {at::kCUDA, static_cast<c10::DeviceIndex>(local_rank % gpus)};
}

int processes_per_gpu(int local_world_size) {
  const int gpus = gpu_count();
  return gpus == 0 ? 1 : (local_world_size + gpus - 1) / gpus;
}

}  // namespace diffract::distributed
