#pragma once
#include <map>
#include <string>
#include <vector>

#include "diffract/placement/max_memory.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::loading {

/// Keeps the budgets of accelerators as hard limits for as long as it lives. Where several live, the least of
/// a device's budgets holds.
class DeviceBudgets {
 public:
  /// `max_memory`'s numbers are devices of `backend`. Throws UsageError for one that is not there.
  DeviceBudgets(tensor::DeviceBackend& backend, const placement::MaxMemory& max_memory);
  ~DeviceBudgets();
  DeviceBudgets(const DeviceBudgets&) = delete;
  DeviceBudgets& operator=(const DeviceBudgets&) = delete;

 private:
  tensor::DeviceBackend& backend_;
  placement::MaxMemory max_memory_;
};

/// What a device's memory was used for since reset_peaks().
struct MemoryPeak {
  std::string device;  // "cuda:0"; "cpu" for the whole process's memory
  uint64_t peak_bytes;
  std::optional<uint64_t> budget_bytes;  // none was given
};
/// Of every device whose backend is loaded and that was used, and of the CPU.
std::vector<MemoryPeak> memory_peaks();
void reset_peaks();

}  // namespace diffract::loading
