// The only file that includes NCCL's headers.
#define USE_C10D_NCCL
#include <ATen/ThreadLocalState.h>
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
using Tensors = std::vector<at::Tensor>;
using Work = c10::intrusive_ptr<::c10d::Work>;

// How long who leaves a group waits for the others to be done with it.
constexpr milliseconds kFarewell(10000);

// c10d's engine, whose calls return in time. Ranks connect when they first exchange something of a kind, and
// until then NCCL stays in the call, for ever where the other rank does not come. So each call is made on a
// thread of its own, with the caller's stream and settings, which is left behind when time is over.
class Nccl final : public ::c10d::ProcessGroupNCCL {
 public:
  Nccl(const distributed::BackendArguments& a, c10::intrusive_ptr<Options> options)
      : ProcessGroupNCCL(a.store, a.rank, a.size, std::move(options)),
        store_(a.store),
        size_(a.size),
        timeout_(a.timeout),
        device_(a.device) {}

  // Peers may still read this rank's memory when its own part of a collective is done: NCCL's own end waits
  // for them, without a limit. Here all say goodbye in the store first.
  ~Nccl() override {
    if (given_up_) return;
    try {
      if (store_->add("left", 1) == size_) store_->set("all_left", std::vector<uint8_t>{1});
      store_->wait({"all_left"}, kFarewell);
    } catch (const std::exception&) {  // some stay, or the store went with rank 0: they hear no more of us
    }
    try {
      ProcessGroupNCCL::abort();
    } catch (const std::exception&) {
    }
  }

  void abort() override {
    given_up_ = true;
    ProcessGroupNCCL::abort();
  }

  void connect() {
    in_time([this]() -> Work {
      eagerConnectSingleDevice(device_);
      return {};
    });
  }

  Work broadcast(Tensors& tensors, const ::c10d::BroadcastOptions& o) override {
    return in_time([this, tensors, o]() mutable { return ProcessGroupNCCL::broadcast(tensors, o); });
  }
  Work allreduce(Tensors& tensors, const ::c10d::AllreduceOptions& o) override {
    return in_time([this, tensors, o]() mutable { return ProcessGroupNCCL::allreduce(tensors, o); });
  }
  Work allgather(std::vector<Tensors>& outputs, Tensors& inputs, const ::c10d::AllgatherOptions& o) override {
    return in_time(
        [this, outputs, inputs, o]() mutable { return ProcessGroupNCCL::allgather(outputs, inputs, o); });
  }
  Work barrier(const ::c10d::BarrierOptions& o) override {
    return in_time([this, o] { return ProcessGroupNCCL::barrier(o); });
  }
  Work alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& received,
                     std::vector<int64_t>& sent, const ::c10d::AllToAllOptions& o) override {
    return in_time([this, output, input, received, sent, o]() mutable {
      return ProcessGroupNCCL::alltoall_base(output, input, received, sent, o);
    });
  }
  Work send(Tensors& tensors, int to, int tag) override {
    return in_time([this, tensors, to, tag]() mutable { return ProcessGroupNCCL::send(tensors, to, tag); });
  }
  Work recv(Tensors& tensors, int from, int tag) override {
    return in_time(
        [this, tensors, from, tag]() mutable { return ProcessGroupNCCL::recv(tensors, from, tag); });
  }

 private:
  // `call` owns what it uses: it may outlive this function.
  template <typename Call>
  Work in_time(Call call) {
    const auto self = c10::intrusive_ptr<Nccl>::reclaim_copy(this);
    std::packaged_task<Work()> task([self, call = std::move(call),
                                     stream = c10::cuda::getCurrentCUDAStream(device_.index()),
                                     settings = at::ThreadLocalState()]() mutable {
      const at::ThreadLocalStateGuard as_the_caller(settings);
      const c10::cuda::CUDAStreamGuard on_its_stream(stream);
      return call();
    });
    auto begun = task.get_future();
    std::thread(std::move(task)).detach();
    if (begun.wait_for(timeout_) != std::future_status::ready) {
      given_up_ = true;
      throw std::runtime_error(
          fmt::format("NCCL has not connected the ranks within {:.1f} s (NCCL_DEBUG=INFO says what it tries)",
                      std::chrono::duration<double>(timeout_).count()));
    }
    return begun.get();
  }

  c10::intrusive_ptr<::c10d::Store> store_;
  int64_t size_;
  milliseconds timeout_;
  at::Device device_;
  std::atomic<bool> given_up_ = false;
};

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
  engine->connect();
  return engine;
}

}  // namespace diffract::kernels::cuda
