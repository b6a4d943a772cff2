#pragma once
#include <cstdint>
#include <functional>
#include <limits>

namespace diffract::loading {

/// Whether and how requests are refused that need more memory than there is.
struct MemoryCheck {
  bool refuses = true;
  /// Processes on this host that compute beside each other, this one included: what one request takes, each
  /// of them may take at once.
  int processes_on_host = 1;
  /// Host memory before the first of them computed, bytes: all of theirs must fit into it.
  uint64_t free_at_start = std::numeric_limits<uint64_t>::max();
  /// Host memory that is free now, bytes; unset: what the kernel and the control groups say.
  std::function<uint64_t()> free_host_bytes = {};
};

}  // namespace diffract::loading
