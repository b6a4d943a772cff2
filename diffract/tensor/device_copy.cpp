#include "diffract/tensor/device_copy.h"

namespace diffract::tensor {

at::Tensor send_to(const at::Tensor& host, at::Device device) {
  if (!device.is_cuda()) return host.to(device);
  // From page-locked memory alone; libtorch keeps it until the copy is done.
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace diffract::tensor
