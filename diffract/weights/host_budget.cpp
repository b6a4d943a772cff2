#include "diffract/weights/host_budget.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "diffract/core/control_group.h"

namespace diffract::weights {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
// Version 1 writes the largest number of whole pages where there is no limit, 9223372036854771712.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

// A model that takes more than this share of the memory that is free is read block by block.
constexpr double kWholeShare = 0.8;
// Then so much of it stays: the rest is for the blocks that come and go, activations and everything else.
constexpr double kResidentShare = 0.5;

std::optional<uint64_t> read_number(const std::filesystem::path& file) {
  std::ifstream in(file);
  uint64_t value = 0;
  if (in >> value) return value;
  return {};
}

// A line of /proc/meminfo.
std::optional<uint64_t> meminfo(const std::string& wanted) {
  std::ifstream in("/proc/meminfo");
  std::string key;
  uint64_t kilobytes = 0;
  for (std::string unit; in >> key >> kilobytes; std::getline(in, unit))
    if (key == wanted) return kilobytes * 1024;
  return {};
}

// A key of memory.stat, 0 where there is none.
uint64_t stat_of(const std::filesystem::path& folder, const std::string& wanted) {
  std::ifstream in(folder / "memory.stat");
  std::string key;
  uint64_t value = 0;
  while (in >> key >> value)
    if (key == wanted) return value;
  return 0;
}

// What one group limits, and how much of it is used.
struct GroupFiles {
  std::string limit, usage;
};

// What one group leaves; its page cache counts as used, but is given up when memory is short.
uint64_t left_in_group(const std::filesystem::path& folder, const GroupFiles& files) {
  const auto limit = read_number(folder / files.limit), used = read_number(folder / files.usage);
  if (!limit || *limit >= kNoLimit || !used) return kUnlimited;
  const uint64_t cache = stat_of(folder, "inactive_file") + stat_of(folder, "active_file");
  const uint64_t kept = *used > cache ? *used - cache : 0;
  return *limit > kept ? *limit - kept : 0;
}

GroupFiles memory_files(bool version_2) {
  return version_2 ? GroupFiles{"memory.max", "memory.current"}
                   : GroupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes"};
}

}  // namespace

uint64_t available_host_bytes() {
  uint64_t left = meminfo("MemAvailable:").value_or(kUnlimited);
  visit_control_groups("memory", [&](const std::filesystem::path& folder, bool version_2) {
    left = std::min(left, left_in_group(folder, memory_files(version_2)));
  });
  return left;
}

uint64_t available_swap_bytes() {
  uint64_t left = meminfo("SwapFree:").value_or(0);
  visit_control_groups("memory", [&](const std::filesystem::path& folder, bool version_2) {
    if (version_2) {
      const auto limit = read_number(folder / "memory.swap.max"),
                 used = read_number(folder / "memory.swap.current");
      if (limit && used) left = std::min(left, *limit > *used ? *limit - *used : 0);
      return;
    }
    // Version 1 limits memory and swap together.
    const GroupFiles both{"memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"};
    const uint64_t memory = left_in_group(folder, memory_files(false)), all = left_in_group(folder, both);
    if (all != kUnlimited) left = std::min(left, all > memory ? all - memory : 0);
  });
  return left;
}

uint64_t total_host_bytes() {
  uint64_t total = meminfo("MemTotal:").value_or(kUnlimited);
  visit_control_groups("memory", [&](const std::filesystem::path& folder, bool version_2) {
    total = std::min(total, read_number(folder / memory_files(version_2).limit).value_or(kUnlimited));
  });
  return total;
}

std::optional<uint64_t> resident_when_streamed(uint64_t stored, uint64_t free) {
  if (static_cast<double>(stored) <= kWholeShare * static_cast<double>(free)) return {};
  return static_cast<uint64_t>(kResidentShare * static_cast<double>(free));
}

}  // namespace diffract::weights
