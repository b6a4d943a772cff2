// Stands in for NCCL in a build without CUDA.
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/core/error.h"
#include "diffract/distributed/backend.h"

namespace diffract::distributed {

c10::intrusive_ptr<::c10d::Backend> make_nccl(const BackendArguments&) {
  throw UsageError(
      "process group: this build of diffract has no NCCL (the backend \"nccl\"). Use the backend \"gloo\", "
      "or none: then the device "
      "decides");
}

bool has_nccl() { return false; }

}  // namespace diffract::distributed
