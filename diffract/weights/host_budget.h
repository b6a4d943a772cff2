#pragma once
#include <cstdint>
#include <optional>

namespace diffract::weights {

/// Host memory that this process may still take, page cache that can be given up included: the least of what
/// the kernel calls available and what the control groups (version 1 or 2) leave.
uint64_t available_host_bytes();
/// Swap space that this process may still take.
uint64_t available_swap_bytes();
/// Host memory in all, as far as the control groups let this process have it.
uint64_t total_host_bytes();

/// How many bytes of a model stay in memory that is read block by block, which one of `stored` bytes in its
/// files is where that is too much for `free`; nothing where all of it is loaded at once.
std::optional<uint64_t> resident_when_streamed(uint64_t stored, uint64_t free);

}  // namespace diffract::weights
