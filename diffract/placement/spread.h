#pragma once
#include <cstdint>
#include <vector>

namespace diffract::placement {

/// Which of a row of blocks, of so many bytes each, stay in memory that holds `may_stay` bytes of them, so
/// that what is read each time is spread evenly over the row: blocks are taken to compute for the same time,
/// and the reading of the next ones should take as long everywhere. Larger blocks stay first, until what is
/// read of them on average is as much as of the smaller ones; those that stay lie among those that do not.
std::vector<bool> spread_kept(const std::vector<int64_t>& bytes, int64_t may_stay);

}  // namespace diffract::placement
