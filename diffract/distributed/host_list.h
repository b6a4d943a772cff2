#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace diffract::distributed {

/// The hosts of a Slurm host list in order: "n[1-3,7],login" gives n1 n2 n3 n7 login; zero padding
/// ("n[08-10]") and several groups in a name ("r[1-2]n[1-4]") are kept as Slurm does. Throws UsageError
/// naming the list and the place for a malformed one, and for one of more than 65536 hosts.
std::vector<std::string> expand_host_list(std::string_view list);

/// The tasks on each node of Slurm's "2(x3),1": 2 2 2 1. Throws UsageError as above.
std::vector<int> expand_task_counts(std::string_view list);

}  // namespace diffract::distributed
