#pragma once
#include <optional>
#include <vector>

namespace diffract::distributed {

/// The cores of one process where `local_world_size` share them: consecutive ones, as many for each, at least
/// one.
std::vector<std::vector<int>> share_of_cores(const std::vector<std::vector<int>>& cores, int local_rank,
                                             int local_world_size);

/// The threads of one process that has so many cores, where its control groups' quota is for `sharing`
/// processes: no more than its part of the quota, at least one.
int threads_within_quota(size_t cores, std::optional<double> quota, int sharing);

/// Takes this process's part of the cores that `local_world_size` processes of this host share: physical
/// cores / processes (at least one), bound to them, and as many threads for libtorch, fewer where the control
/// groups' quota of processors is less. OMP_NUM_THREADS overrides the number of threads. With `bind` false
/// the process is bound to its cores already, and its quota is taken to be its own too.
void share_cores(int local_rank, int local_world_size, bool bind);

}  // namespace diffract::distributed
