#pragma once
#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace diffract::distributed {

/// What a process group's engine is made from.
struct BackendArguments {
  c10::intrusive_ptr<::c10d::Store> store;  // this group's own keys
  int rank = 0, size = 1;                   // within the group
  std::chrono::milliseconds timeout;
  std::string address;  // of this machine, for the sockets that peers connect to
  at::Device device = at::kCPU;
};

/// c10d's engines. One that the build lacks is a file of its own (no_nccl.cpp) that throws UsageError saying
/// what to do instead.
c10::intrusive_ptr<::c10d::Backend> make_gloo(const BackendArguments& arguments);
c10::intrusive_ptr<::c10d::Backend> make_nccl(const BackendArguments& arguments);
/// True when make_nccl works in this build.
bool has_nccl();

}  // namespace diffract::distributed
