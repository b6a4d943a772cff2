#pragma once
#include <cstdint>

namespace diffract::test {

/// Stands before libtorch's allocator of GPU memory, counts what is asked of it, and lets one request fail.
class FailingAllocator {
 public:
  /// Takes its place until the end of the process.
  static FailingAllocator& install();

  virtual ~FailingAllocator() = default;
  virtual int64_t allocations() const = 0;
  /// The k-th request from now fails as one does where memory is out; 0: none does.
  virtual void fail_allocation(int64_t k) = 0;
};

}  // namespace diffract::test
