#include "diffract/tensor/device_copy.h"

namespace diffract::tensor {

at::Tensor send_to(const at::Tensor& host, at::Device device) {
  if (!device.is_cuda()) return host.to(device);
  // From page-locked memory alone; libtorch keeps it until the copy is done.
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

at::Tensor keep_on_host(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor.to(at::kCPU);
  at::Tensor host = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  host.copy_(tensor, /*non_blocking=*/true);
  return host;
}

}  // namespace diffract::tensor
