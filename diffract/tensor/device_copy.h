#pragma once
#include <ATen/ATen.h>

namespace diffract::tensor {

/// A host tensor on `device`. On a GPU the copy is only begun, behind what the GPU has been told before, and
/// the host does not wait for it.
at::Tensor send_to(const at::Tensor& host, at::Device device);

}  // namespace diffract::tensor
