#pragma once
#include <ATen/ATen.h>

namespace diffract::tensor {

/// A host tensor on `device`. On a GPU the copy is only begun, behind what the GPU has been told before, and
/// the host does not wait for it.
at::Tensor send_to(const at::Tensor& host, at::Device device);

/// A copy in host memory that send_to() takes; of a host tensor the tensor itself. From a GPU the copy is
/// only begun, behind what the GPU has been told before: the host must not read it, but may send it back.
at::Tensor keep_on_host(const at::Tensor& tensor);

}  // namespace diffract::tensor
