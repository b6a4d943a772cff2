#pragma once
#include <cstdint>

namespace diffract::weights {

/// Host memory that this process may still take, page cache that can be given up included: the least of what
/// the kernel calls available and what the control groups (version 1 or 2) leave.
uint64_t available_host_bytes();
/// Swap space that this process may still take.
uint64_t available_swap_bytes();
/// Host memory in all, as far as the control groups let this process have it.
uint64_t total_host_bytes();

}  // namespace diffract::weights
