#include "diffract/core/control_group.h"

#include <algorithm>
#include <fstream>

namespace diffract {
namespace fs = std::filesystem;
namespace {

bool is_among(const std::string& name, const std::string& list) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

// Where version 1 has a controller: at its own name, which may be a link, or at "cpu,cpuacct".
fs::path hierarchy_of(const fs::path& root, const std::string& controller, const std::string& together) {
  std::error_code unreadable;
  return fs::is_directory(root / together, unreadable) ? root / together : root / controller;
}

// Beside version 1 the hierarchy of version 2 has a folder of its own.
fs::path unified_hierarchy(const fs::path& root) {
  std::error_code unreadable;
  return fs::is_directory(root / "unified", unreadable) ? root / "unified" : root;
}

std::optional<double> quota_of(const fs::path& folder, bool version_2) {
  double quota = 0, period = 0;
  if (version_2) {
    std::ifstream both(folder / "cpu.max");  // "max 100000" where there is no limit
    if (!(both >> quota >> period)) return {};
  } else if (!(std::ifstream(folder / "cpu.cfs_quota_us") >> quota) ||  // -1 where there is no limit
             !(std::ifstream(folder / "cpu.cfs_period_us") >> period)) {
    return {};
  }
  if (quota <= 0 || period <= 0) return {};
  return quota / period;
}

}  // namespace

void visit_control_groups(const std::string& controller,
                          const std::function<void(const fs::path&, bool)>& visit,
                          const ControlGroupFiles& files) {
  std::ifstream list(files.list);
  for (std::string line; std::getline(list, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && !is_among(controller, controllers)) continue;
    const fs::path hierarchy =
        version_2 ? unified_hierarchy(files.root) : hierarchy_of(files.root, controller, controllers);
    for (std::string group = line.substr(second + 1);; group.erase(group.rfind('/'))) {
      visit(hierarchy.string() + group, version_2);
      if (group.find('/') == std::string::npos) break;
    }
  }
}

std::optional<double> cpu_quota(const ControlGroupFiles& files) {
  std::optional<double> least;
  visit_control_groups(
      "cpu",
      [&](const fs::path& folder, bool version_2) {
        if (const auto quota = quota_of(folder, version_2)) least = std::min(least.value_or(*quota), *quota);
      },
      files);
  return least;
}

}  // namespace diffract
