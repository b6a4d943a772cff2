#pragma once
#include <functional>
#include <string>
#include <vector>

namespace diffract::distributed {

/// The logical CPUs of each physical core among `allowed`, first CPU first. `siblings(cpu)` lists the CPUs of
/// the core that `cpu` belongs to, or is empty where that is not known.
std::vector<std::vector<int>> group_by_core(const std::vector<int>& allowed,
                                            const std::function<std::vector<int>(int)>& siblings);
/// "0-3,8" to 0 1 2 3 8, as the kernel writes lists of CPUs; empty when it is malformed.
std::vector<int> parse_cpu_list(const std::string& text);

/// The CPUs that this process may run on.
std::vector<int> allowed_cpus();

/// The cores of one process where `local_world_size` share them: consecutive ones, as many for each, at least
/// one.
std::vector<std::vector<int>> share_of_cores(const std::vector<std::vector<int>>& cores, int local_rank,
                                             int local_world_size);

/// Takes this process's part of the cores that `local_world_size` processes of this host share: physical
/// cores / processes (at least one), bound to them, and as many threads for libtorch.
/// OMP_NUM_THREADS overrides the number of threads. With `bind` false the process is bound to its cores
/// already.
void share_cores(int local_rank, int local_world_size, bool bind);

}  // namespace diffract::distributed
