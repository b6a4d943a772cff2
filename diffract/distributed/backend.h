#pragma once
#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <optional>
#include <string>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace diffract::distributed {

/// What a process group's engine is made from.
struct BackendArguments {
  c10::intrusive_ptr<::c10d::Store> store;              // this group's own keys
  int rank = 0, size = 1;                               // within the group
  std::chrono::milliseconds timeout;                    // to connect, and of each call
  std::optional<std::chrono::milliseconds> patience{};  // of each call, where that is another
  std::string address;           // of this machine, for the sockets that peers connect to
  at::Device device = at::kCPU;  // of the group's tensors
};

/// c10d's engines.
c10::intrusive_ptr<::c10d::Backend> make_gloo(const BackendArguments& arguments);
c10::intrusive_ptr<::c10d::Backend> make_nccl(const BackendArguments& arguments);
/// Throws UsageError saying what to do where libdiffract_cuda, which has NCCL, cannot be used, or this
/// process has no GPU to itself.
void require_nccl(at::Device device, int processes_per_gpu);

/// What the backend of NVIDIA's GPUs is besides a tensor::DeviceBackend.
class NcclProvider {
 public:
  virtual ~NcclProvider() = default;
  /// Connected to all ranks of the group. Throws where they do not all connect before the timeout.
  virtual c10::intrusive_ptr<::c10d::Backend> make_nccl(const BackendArguments& arguments) const = 0;
};

}  // namespace diffract::distributed
