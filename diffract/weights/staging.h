#pragma once
#include <deque>
#include <mutex>

#include "diffract/tensor/device_backend.h"

namespace diffract::weights {

/// Host memory (uint8) that begins with a page; pinned by the backend where there is one.
at::Tensor page_aligned(uint64_t bytes, tensor::DeviceBackend* backend = nullptr);

/// What a chunk of a file passes through. Belongs to one thread at a time.
struct StagingBuffer {
  at::Tensor landing;             // uint8: pinned where it goes to an accelerator
  at::Tensor raw;                 // uint8: what is converted comes here first
  tensor::DeviceEventPtr in_use;  // the copy from `landing` that may still run
};

/// Buffers that threads take and give back. They are made when they are needed first.
class StagingBuffers {
 public:
  /// Each of `bytes`; with a backend they are pinned. `spare`: so many that were given back are left to their
  /// copies before one of them is taken again.
  StagingBuffers(uint64_t bytes, size_t spare, tensor::DeviceBackend* backend)
      : bytes_(bytes), spare_(spare), backend_(backend) {}

  /// The one whose copy has run longest, when that copy is done; a new one while few are there.
  StagingBuffer take();
  void give_back(StagingBuffer buffer);
  /// Memory for what is converted, of the buffer's size.
  const at::Tensor& raw_of(StagingBuffer& buffer) const;

 private:
  uint64_t bytes_;
  size_t spare_;
  tensor::DeviceBackend* backend_;
  std::mutex mutex_;
  std::deque<StagingBuffer> free_;  // the one that was given back first at the front
};

}  // namespace diffract::weights
