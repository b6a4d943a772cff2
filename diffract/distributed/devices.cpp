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

// Null where processes compute on the CPU.
const tensor::DeviceBackend* gpus() {
  if (is_true("ACCELERATE_USE_CPU")) return nullptr;
  const auto* cuda = tensor::find_backend("cuda");
  return cuda && cuda->device_count() > 0 ? cuda : nullptr;
}

}  // namespace

at::Device local_device(int local_rank) {
  const auto* cuda = gpus();
  if (!cuda) return at::kCPU;
  return {at::kCUDA, static_cast<c10::DeviceIndex>(local_rank % cuda->device_count())};
}

int processes_per_gpu(int local_world_size) {
  const auto* cuda = gpus();
  return cuda ? (local_world_size + cuda->device_count() - 1) / cuda->device_count() : 1;
}

}  // namespace diffract::distributed
