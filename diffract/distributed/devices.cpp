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

}  // namespace

at::Device local_device(int local_rank) {
  if (is_true("ACCELERATE_USE_CPU")) return at::kCPU;
  const auto* cuda = tensor::find_backend("cuda");
  if (!cuda || cuda->device_count() < 1) return at::kCPU;
  return {at::kCUDA, static_cast<c10::DeviceIndex>(local_rank % cuda->device_count())};
}

}  // namespace diffract::distributed
