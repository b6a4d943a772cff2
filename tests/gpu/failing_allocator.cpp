#include "tests/gpu/failing_allocator.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>

namespace diffract::test {
namespace {

namespace cuda = c10::cuda;
namespace caching = c10::cuda::CUDACachingAllocator;
using c10::DeviceIndex;
using c10::MempoolId_t;

class Failing final : public caching::CUDAAllocator, public FailingAllocator {
 public:
  explicit Failing(caching::CUDAAllocator& real) : real_(real) {}

  int64_t allocations() const override { return allocations_; }
  void fail_allocation(int64_t k) override { fails_at_ = k == 0 ? 0 : allocations_ + k; }

  c10::DataPtr allocate(size_t bytes) override {
    count();
    return real_.allocate(bytes);
  }
  void* raw_alloc(size_t bytes) override {
    count();
    return real_.raw_alloc(bytes);
  }
  void* raw_alloc_with_stream(size_t bytes, cudaStream_t stream) override {
    count();
    return real_.raw_alloc_with_stream(bytes, stream);
  }

  // All else is the real one's.
  void raw_delete(void* p) override { real_.raw_delete(p); }
  c10::DeleterFnPtr raw_deleter() const override { return real_.raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    real_.copy_data(to, from, bytes);
  }
  bool initialized() override { return real_.initialized(); }
  void init(int devices) override { real_.init(devices); }
  double getMemoryFraction(DeviceIndex d) override { return real_.getMemoryFraction(d); }
  void setMemoryFraction(double share, DeviceIndex d) override { real_.setMemoryFraction(share, d); }
  std::vector<caching::StreamSegmentSize> getExpandableSegmentSizes(DeviceIndex d) override {
    return real_.getExpandableSegmentSizes(d);
  }
  void enable(bool value) override { real_.enable(value); }
  bool isEnabled() const override { return real_.isEnabled(); }
  void emptyCache(MempoolId_t pool) override { real_.emptyCache(pool); }
  void cacheInfo(DeviceIndex d, size_t* largest) override { real_.cacheInfo(d, largest); }
  void* getBaseAllocation(void* p, size_t* size) override { return real_.getBaseAllocation(p, size); }
  void recordStream(const c10::DataPtr& p, cuda::CUDAStream stream) override {
    real_.recordStream(p, stream);
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(DeviceIndex d) override {
    return real_.getDeviceStats(d);
  }
  void resetAccumulatedStats(DeviceIndex d) override { real_.resetAccumulatedStats(d); }
  void resetPeakStats(DeviceIndex d) override { real_.resetPeakStats(d); }
  caching::SnapshotInfo snapshot(MempoolId_t pool, bool traces) override {
    return real_.snapshot(pool, traces);
  }
  void beginAllocateToPool(DeviceIndex d, MempoolId_t pool,
                           std::function<bool(cudaStream_t)> filter) override {
    real_.beginAllocateToPool(d, pool, std::move(filter));
  }
  void endAllocateToPool(DeviceIndex d, MempoolId_t pool) override { real_.endAllocateToPool(d, pool); }
  void releasePool(DeviceIndex d, MempoolId_t pool) override { real_.releasePool(d, pool); }
  int getPoolUseCount(DeviceIndex d, MempoolId_t pool) override { return real_.getPoolUseCount(d, pool); }
  void createOrIncrefPool(DeviceIndex d, MempoolId_t pool,
                          std::shared_ptr<caching::CUDAAllocator> allocator) override {
    real_.createOrIncrefPool(d, pool, std::move(allocator));
  }
  void setUseOnOOM(DeviceIndex d, MempoolId_t pool, bool use) override { real_.setUseOnOOM(d, pool, use); }
  void setNoSplit(DeviceIndex d, MempoolId_t pool) override { real_.setNoSplit(d, pool); }
  caching::ShareableHandle shareIpcHandle(void* p) override { return real_.shareIpcHandle(p); }
  std::shared_ptr<void> getIpcDevPtr(std::string handle) override {
    return real_.getIpcDevPtr(std::move(handle));
  }
  bool isHistoryEnabled() override { return real_.isHistoryEnabled(); }
  void recordHistory(bool enabled, caching::CreateContextFn recorder, size_t most,
                     caching::RecordContext when, bool clear, const std::vector<std::string>& skip) override {
    real_.recordHistory(enabled, recorder, most, when, clear, skip);
  }
  void attachOutOfMemoryObserver(caching::OutOfMemoryObserver o) override {
    real_.attachOutOfMemoryObserver(std::move(o));
  }
  void attachAllocatorTraceTracker(caching::AllocatorTraceTracker t) override {
    real_.attachAllocatorTraceTracker(std::move(t));
  }
  void enablePeerAccess(DeviceIndex d, DeviceIndex other) override { real_.enablePeerAccess(d, other); }
  cudaError_t memcpyAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                          cudaStream_t stream, bool p2p) override {
    return real_.memcpyAsync(to, to_device, from, from_device, bytes, stream, p2p);
  }
  std::shared_ptr<caching::AllocatorState> getCheckpointState(DeviceIndex d, MempoolId_t pool) override {
    return real_.getCheckpointState(d, pool);
  }
  caching::CheckpointDelta setCheckpointPoolState(DeviceIndex d,
                                                  std::shared_ptr<caching::AllocatorState> state) override {
    return real_.setCheckpointPoolState(d, std::move(state));
  }
  std::string name() override { return real_.name(); }

 private:
  void count() {
    if (++allocations_ == fails_at_)
      TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory: the test lets allocation ",
                       fails_at_.load(), " fail");
  }

  caching::CUDAAllocator& real_;
  std::atomic<int64_t> allocations_{0}, fails_at_{0};
};

}  // namespace

FailingAllocator& FailingAllocator::install() {
  static auto* const failing = [] {
    auto* made = new Failing(*caching::get());
    caching::allocator.store(made);
    return made;
  }();
  return *failing;
}

}  // namespace diffract::test
