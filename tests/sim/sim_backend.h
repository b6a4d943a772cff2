#pragma once
#include "diffract/tensor/device_backend.h"

namespace diffract::sim {

/// Devices for tests: host memory with a hard cap each, which refuse operations among different devices as
/// CUDA does. DIFFRACT_SIM_MEMORY="200MB,200MB" says how many there are and their caps; default: eight of 4
/// GiB.
class SimBackend : public tensor::DeviceBackend {
 public:
  /// The `count`-th allocation from now on fails (1: the next), and only that one; 0: none does.
  virtual void fail_allocation(int64_t count) = 0;
  /// Allocations since the process began, of all devices.
  virtual int64_t allocations() const = 0;
  /// Blocks that are in use, of all devices.
  virtual int64_t live_blocks() const = 0;

  struct Transfers {
    int64_t copies = 0;
    uint64_t bytes = 0;
  };
  /// Between a device and the host or another device, since the process began.
  virtual Transfers transfers() const = 0;
  /// From now on waiting for a device fails, as after an error of a kernel on a GPU; or no more.
  virtual void set_broken(bool broken) = 0;
  /// From now on copy streams take this long a byte; 0: as long as they take.
  virtual void set_copy_time(double seconds_a_byte) = 0;
};

}  // namespace diffract::sim
