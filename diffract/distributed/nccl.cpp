// NCCL is in libdiffract_cuda, which is found when a program runs, not when it is built.
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/core/error.h"
#include "diffract/distributed/backend.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::distributed {
namespace {

constexpr const char* kInstead =
    "Use the backend \"gloo\", or none: then the device decides, and whether each process has a GPU of its "
    "own";

const NcclProvider& provider() {
  const auto* found = dynamic_cast<const NcclProvider*>(tensor::find_backend("cuda"));
  if (!found)
    throw UsageError("process group: the backend \"nccl\" needs NVIDIA GPUs: {}. {}",
                     tensor::why_no_backend("cuda"), kInstead);
  return *found;
}

}  // namespace

void require_nccl(at::Device device, int processes_per_gpu) {
  provider();
  if (!device.is_cuda())
    throw UsageError(
        "process group: the backend \"nccl\" needs a GPU, and this process has none (is ACCELERATE_USE_CPU "
        "set?). {}",
        kInstead);
  if (processes_per_gpu > 1)
    throw UsageError(
        "process group: {} processes of this machine share {}; NCCL wants a GPU for each. Start as many as "
        "there are GPUs (--nproc-per-node gpu). {}",
        processes_per_gpu, device.str(), kInstead);
}

c10::intrusive_ptr<::c10d::Backend> make_nccl(const BackendArguments& arguments) {
  return provider().make_nccl(arguments);
}

}  // namespace diffract::distributed
