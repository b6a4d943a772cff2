#pragma once
#include <c10/core/Allocator.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "diffract/tensor/device_backend.h"

namespace diffract::sim {

/// The memory of all sim devices: counted, capped, and failing on demand.
class SimMemory final : public c10::Allocator {
 public:
  static SimMemory& instance();

  c10::DataPtr allocate(size_t bytes) override;  // on the thread's current device
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override;

  int device_count() const { return static_cast<int>(devices_.size()); }
  tensor::DeviceMemory memory(int device) const;
  uint64_t peak(int device) const;
  void reset_peak(int device);
  void set_limit(int device, std::optional<uint64_t> bytes);

  void fail_allocation(int64_t count);
  int64_t allocations() const { return allocations_; }
  int64_t live_blocks() const { return live_; }
  void count_transfer(uint64_t bytes) {
    ++copies_;
    copied_bytes_ += bytes;
  }
  int64_t copies() const { return copies_; }
  uint64_t copied_bytes() const { return copied_bytes_; }

 private:
  struct Device {
    uint64_t cap, limit, used = 0, peak = 0;
  };
  struct Block;
  SimMemory();
  static void give_back(void* block);

  mutable std::mutex mutex_;
  std::vector<Device> devices_;
  int64_t fails_in_ = 0;  // allocations; 0: never
  std::atomic<int64_t> allocations_ = 0, live_ = 0, copies_ = 0;
  std::atomic<uint64_t> copied_bytes_ = 0;
};

/// The device that this thread's allocations are made on.
int& current_device();

}  // namespace diffract::sim
