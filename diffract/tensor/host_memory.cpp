#include "diffract/tensor/host_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "diffract/core/error.h"

namespace diffract::tensor {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallest = size_t{1} << 20;  // below this glibc's own caches do well
constexpr uint64_t kDefaultKeptBytes = 1u
                                       << 30;  // of one large VAE level at 512x512, or of a UNet's whole step

class HostMemory final : public c10::Allocator {
 public:
  explicit HostMemory(uint64_t most_kept) : most_kept_(most_kept), limit_(most_kept) {}

  c10::DataPtr allocate(size_t bytes) override {
    void* block = bytes < kSmallest ? c10::alloc_cpu(bytes) : take(bytes);
    return {block, block, &HostMemory::give_back, c10::Device(c10::DeviceType::CPU)};
  }

  // oneDNN takes and gives back its scratch memory through this.
  c10::DeleterFnPtr raw_deleter() const override { return &HostMemory::give_back; }

  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  void release() {
    const std::lock_guard lock(mutex_);
    shrink_to(0);
  }

  void keep_at_most(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = std::min(bytes, most_kept_);
    shrink_to(limit_);
  }

  uint64_t kept() const {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

  static HostMemory* installed;

 private:
  // One deleter for both kinds of block. Ours are aligned to huge pages, which hardly any other block is.
  static void give_back(void* block) {
    const bool may_be_ours = reinterpret_cast<uintptr_t>(block) % kHugePage == 0;
    if (!may_be_ours || !installed->put(block)) c10::free_cpu(block);
  }

  void* take(size_t bytes) {
    const size_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    const std::lock_guard lock(mutex_);
    // A block up to an eighth larger will do; a much larger one is worth more to somebody else.
    const auto found = free_.lower_bound(size);
    if (found != free_.end() && found->first <= size + size / 8) {
      void* block = found->second;
      kept_ -= found->first;
      free_.erase(found);
      return block;
    }
    void* block = map(size);
    if (!block) {
      shrink_to(0);
      block = map(size);
    }
    if (!block) throw MemoryError("out of host memory: {} bytes could not be had for a tensor", bytes);
    sizes_[block] = size;
    return block;
  }

  // False when the block is not one of ours.
  bool put(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return false;
    free_.emplace(found->second, block);
    kept_ += found->second;
    shrink_to(limit_);
    return true;
  }

  // Aligned to a huge page, which an mmap of its size alone need not be.
  static void* map(size_t size) {
    void* region =
        ::mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) return nullptr;
    void* aligned = region;
    size_t room = size + kHugePage;
    std::align(kHugePage, size, aligned, room);  // cannot fail: there is a huge page to spare
    if (const size_t before = size + kHugePage - room; before > 0) ::munmap(region, before);
    if (room > size) ::munmap(static_cast<std::byte*>(aligned) + size, room - size);
    ::madvise(aligned, size, MADV_HUGEPAGE);  // a wish: without it all works, slower
    return aligned;
  }

  // The largest go first: few of them make room, and the small ones are asked for more often.
  void shrink_to(uint64_t bytes) {
    while (kept_ > bytes && !free_.empty()) {
      const auto last = std::prev(free_.end());
      ::munmap(last->second, last->first);
      sizes_.erase(last->second);
      kept_ -= last->first;
      free_.erase(last);
    }
  }

  const uint64_t most_kept_;
  uint64_t limit_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, size_t> sizes_;  // of all blocks, in use or not
  std::multimap<size_t, void*> free_;
  uint64_t kept_ = 0;
};

HostMemory* HostMemory::installed = nullptr;

uint64_t most_kept_bytes() {
  const char* given = std::getenv("DIFFRACT_HOST_CACHE_MB");
  if (!given) return kDefaultKeptBytes;
  const std::string_view text = given;
  uint64_t megabytes = 0;
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), megabytes);
  if (failure != std::errc() || stop != text.data() + text.size() || megabytes > (uint64_t{1} << 40))
    throw UsageError("DIFFRACT_HOST_CACHE_MB is \"{}\"; expected a number of megabytes", text);
  return megabytes << 20;
}

}  // namespace

void keep_host_memory() {
#ifndef __SANITIZE_ADDRESS__  // which watches glibc's allocations, not ours
  static std::once_flag once;
  std::call_once(once, [] {
    const uint64_t most_kept = most_kept_bytes();
    if (most_kept == 0) return;
    HostMemory::installed = new HostMemory(most_kept);  // lives as long as the last tensor
    c10::SetCPUAllocator(HostMemory::installed);
  });
#endif
}

void keep_at_most(uint64_t bytes) {
  if (HostMemory::installed) HostMemory::installed->keep_at_most(bytes);
}

void release_host_memory() {
  if (HostMemory::installed) HostMemory::installed->release();
}

uint64_t kept_host_bytes() { return HostMemory::installed ? HostMemory::installed->kept() : 0; }

}  // namespace diffract::tensor
