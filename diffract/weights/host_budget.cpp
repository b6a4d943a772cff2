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

std::optional<uint64_t> read_number(const std::filesystem::path& file) {
  std::ifstream in(file);
  uint64_t value = 0;
  if (in >> value) return value;
  return {};
}

uint64_t meminfo_available() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  uint64_t kilobytes = 0;
  for (std::string unit; in >> key >> kilobytes; std::getline(in, unit))
    if (key == "MemAvailable:") return kilobytes * 1024;
  return kUnlimited;
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

// What one group leaves; its page cache counts as used, but is given up when memory is short.
uint64_t left_in_group(const std::filesystem::path& folder, const char* limit_file, const char* usage_file) {
  const auto limit = read_number(folder / limit_file), used = read_number(folder / usage_file);
  if (!limit || !used) return kUnlimited;
  const uint64_t cache = stat_of(folder, "inactive_file") + stat_of(folder, "active_file");
  const uint64_t kept = *used > cache ? *used - cache : 0;
  return *limit > kept ? *limit - kept : 0;
}

uint64_t left_in_groups() {
  uint64_t left = kUnlimited;
  visit_control_groups("memory", [&](const std::filesystem::path& folder, bool version_2) {
    left =
        std::min(left, version_2 ? left_in_group(folder, "memory.max", "memory.current")
                                 : left_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes"));
  });
  return left;
}

}  // namespace

uint64_t available_host_bytes() { return std::min(meminfo_available(), left_in_groups()); }

}  // namespace diffract::weights
