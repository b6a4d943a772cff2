#include "diffract/weights/staging.h"

#include "diffract/weights/part.h"

namespace diffract::weights {

at::Tensor page_aligned(uint64_t bytes, tensor::DeviceBackend* backend) {
  const auto size = static_cast<int64_t>(bytes + kPage);
  const at::Tensor memory = backend ? backend->pinned_memory(size) : at::empty({size}, at::kByte);
  const auto address = reinterpret_cast<uintptr_t>(memory.data_ptr());
  return memory.narrow(0, static_cast<int64_t>((kPage - address % kPage) % kPage),
                       static_cast<int64_t>(bytes));
}

StagingBuffer StagingBuffers::take() {
  StagingBuffer buffer;
  {
    const std::lock_guard lock(mutex_);
    if (free_.size() > spare_) {
      buffer = std::move(free_.front());
      free_.pop_front();
    }
  }
  if (buffer.in_use) buffer.in_use->synchronize();
  buffer.in_use = nullptr;
  if (!buffer.landing.defined()) buffer.landing = page_aligned(bytes_, backend_);
  return buffer;
}

void StagingBuffers::give_back(StagingBuffer buffer) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
}

const at::Tensor& StagingBuffers::raw_of(StagingBuffer& buffer) const {
  if (!buffer.raw.defined()) buffer.raw = page_aligned(bytes_);
  return buffer.raw;
}

}  // namespace diffract::weights
