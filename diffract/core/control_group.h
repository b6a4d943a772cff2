#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace diffract {

/// Where the kernel tells of control groups; tests give folders of their own.
struct ControlGroupFiles {
  std::filesystem::path list =
      "/proc/self/cgroup";  // lines "3:memory:/a/b" (version 1), "0::/a/b" (version 2)
  std::filesystem::path root = "/sys/fs/cgroup";
};

/// Calls `visit` with the folder of this process's group and of each group above it, in the hierarchy of a
/// controller ("memory", "cpu") of version 1 and in that of version 2. A limit holds for all that is below
/// it, so the least counts. In a container the groups above may not be there to be read.
void visit_control_groups(
    const std::string& controller,
    const std::function<void(const std::filesystem::path& folder, bool version_2)>& visit,
    const ControlGroupFiles& files = {});

/// The processors that this process's control groups allow (cpu.max, or cpu.cfs_quota_us over
/// cpu.cfs_period_us): 1.5 is three halves of one's time. Nothing where there is no quota.
std::optional<double> cpu_quota(const ControlGroupFiles& files = {});

}  // namespace diffract
