// The only file that includes NCCL's headers.
#define USE_C10D_NCCL
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "diffract/kernels/cuda/bindings.h"

namespace diffract::kernels::cuda {
namespace {

using std::chrono::milliseconds;

// How long who leaves a group waits for the others to be done with it.
constexpr milliseconds kFarewell(10000);

class Nccl final : public ::c10d::ProcessGroupNCCL {
 public:
  Nccl(const distributed::BackendArguments& a, c10::intrusive_ptr<Options> options)
      : ProcessGroupNCCL(a.store, a.rank, a.size, std::move(options)), store_(a.store), size_(a.size) {}

  // Peers may still read this rank's memory when its own part of a collective is done: NCCL's own end waits
  // for them, without a limit. Here all say goodbye in the store first.
  ~Nccl() override {
    try {
      if (!aborted_) {
        if (store_->add("left", 1) == size_) store_->set("all_left", std::vector<uint8_t>{1});
        store_->wait({"all_left"}, kFarewell);
      }
    } catch (const std::exception&) {  // some stay, or the store went with rank 0: they hear no more of us
    }
    try {
      if (!aborted_) ProcessGroupNCCL::abort();
    } catch (const std::exception&) {
    }
  }

  void abort() override {
    aborted_ = true;
    ProcessGroupNCCL::abort();
  }

 private:
  c10::intrusive_ptr<::c10d::Store> store_;
  int64_t size_;
  std::atomic<bool> aborted_ = false;
};

// NCCL's connecting has no timeout of its own: a rank that dies meanwhile would hold up the others for ever.
void connect(const c10::intrusive_ptr<Nccl>& engine, at::Device device, milliseconds timeout) {
  std::packaged_task<void()> connecting([engine, device] {
    const c10::cuda::CUDAGuard on_device(device);
    engine->eagerConnectSingleDevice(device);
  });
  auto connected = connecting.get_future();
  std::thread(std::move(connecting)).detach();
  if (connected.wait_for(timeout) != std::future_status::ready)
    throw std::runtime_error(
        fmt::format("NCCL has not connected all ranks within {:.1f} s; NCCL_DEBUG=INFO says what it tries",
                    std::chrono::duration<double>(timeout).count()));
  connected.get();
}

}  // namespace

std::string nccl_version() { return ::c10d::getNcclVersion(); }

c10::intrusive_ptr<::c10d::Backend> make_nccl(const distributed::BackendArguments& arguments) {
  // Who waits for a collective throws what went wrong. Without this c10d's watchdog thread ends the process.
  ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);
  const c10::cuda::CUDAGuard on_device(arguments.device);
  auto options = ::c10d::ProcessGroupNCCL::Options::create();
  options->timeout = arguments.timeout;
  auto engine = c10::make_intrusive<Nccl>(arguments, std::move(options));
  engine->setBoundDeviceId(arguments.device);
  connect(engine, arguments.device, arguments.timeout);
  return engine;
}

}  // namespace diffract::kernels::cuda
