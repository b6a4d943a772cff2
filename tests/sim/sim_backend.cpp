#include "tests/sim/sim_backend.h"

#include <ATen/ATen.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "tests/sim/sim_memory.h"

namespace diffract::sim {

void register_sim_devices();

namespace {

constexpr auto kSim = c10::DeviceType::PrivateUse1;

/// Set when the copies before it are done. Devices compute in the calling thread, so that a stream that waits
/// is a thread that waits.
class Event final : public tensor::DeviceEvent {
 public:
  void compute_waits() const override { synchronize(); }
  void synchronize() const override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_done_; });
  }
  void set() {
    {
      const std::lock_guard lock(mutex_);
      is_done_ = true;
    }
    changed_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool is_done_ = false;
};

/// Copies in a thread of its own, in order: what is not waited for is not there, as on an accelerator.
class Copies final : public tensor::CopyStream {
 public:
  Copies(int device, const std::atomic<double>& seconds_a_byte)
      : device_(device), seconds_a_byte_(seconds_a_byte), thread_([this] { run(); }) {}
  ~Copies() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void copy(const at::Tensor& to, const at::Tensor& from) override {
    TORCH_CHECK(
        to.device() == c10::Device(kSim, static_cast<c10::DeviceIndex>(device_)) && from.device().is_cpu() &&
            to.is_contiguous() && from.is_contiguous() && to.nbytes() == from.nbytes(),
        "a copy stream of sim:", device_, " copies from the host to it, contiguous tensors of one size");
    push([this, to, from] {
      const double seconds = seconds_a_byte_ * static_cast<double>(from.nbytes());
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
      to.copy_(from);
    });
  }
  void wait(const tensor::DeviceEvent& event) override { event.synchronize(); }
  tensor::DeviceEventPtr record() override {
    auto event = std::make_shared<Event>();
    push([event] { event->set(); });
    return event;
  }

 private:
  void push(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      work_.push_back(std::move(work));
    }
    changed_.notify_all();
  }
  void run() {
    const c10::InferenceMode no_autograd;  // which the memory may have been taken in
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || !work_.empty(); });
      if (work_.empty()) return;
      auto work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
      work = nullptr;  // its tensors go before the next is waited for
      lock.lock();
    }
  }

  int device_;
  const std::atomic<double>& seconds_a_byte_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool stop_ = false;
  std::thread thread_;
};

class Backend final : public SimBackend {
 public:
  std::string name() const override { return "sim"; }
  c10::DeviceType type() const override { return kSim; }
  int device_count() const override { return memory().device_count(); }
  bool computes_fast(at::ScalarType dtype, int) const override { return dtype == at::kFloat; }

  tensor::DeviceMemory memory(int device) const override { return memory().memory(device); }
  uint64_t peak(int device) const override { return memory().peak(device); }
  void reset_peak(int device) override { memory().reset_peak(device); }
  void set_limit(int device, std::optional<uint64_t> bytes) override { memory().set_limit(device, bytes); }
  void empty_cache() override {}

  at::Tensor pinned_memory(int64_t bytes) override { return at::empty({bytes}, at::kByte); }
  std::unique_ptr<tensor::CopyStream> make_copy_stream(int device) override {
    return std::make_unique<Copies>(device, seconds_a_byte_);
  }
  tensor::DeviceEventPtr record_compute(int) override {
    auto event = std::make_shared<Event>();
    event->set();
    return event;
  }
  void synchronize(int) override { TORCH_CHECK(!broken_, "the device is broken"); }
  void prepare(int) override {}
  void await_work() override {}
  bool allow_tf32(int, bool) override { return false; }

  void fail_allocation(int64_t count) override { memory().fail_allocation(count); }
  int64_t allocations() const override { return memory().allocations(); }
  int64_t live_blocks() const override { return memory().live_blocks(); }
  Transfers transfers() const override { return {memory().copies(), memory().copied_bytes()}; }
  void set_broken(bool broken) override { broken_ = broken; }
  void set_copy_time(double seconds_a_byte) override { seconds_a_byte_ = seconds_a_byte; }

 private:
  static SimMemory& memory() { return SimMemory::instance(); }
  std::atomic<double> seconds_a_byte_ = 0;
  std::atomic<bool> broken_ = false;
};

tensor::BackendEntry make_entry() {
  static auto* backend = [] {
    register_sim_devices();
    return new Backend;
  }();
  return {tensor::kBackendInterface, backend, nullptr};
}

}  // namespace
}  // namespace diffract::sim

DIFFRACT_DEVICE_BACKEND(diffract::sim::make_entry())
