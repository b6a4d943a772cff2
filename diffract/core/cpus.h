#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace diffract {

/// The logical CPUs that this process may run on.
std::vector<int> allowed_cpus();
/// The same by physical core, first CPU first.
std::vector<std::vector<int>> allowed_cores();
/// Binds a thread (0: the calling one) to CPUs. False, with errno, when the kernel refuses.
bool bind_thread(int thread, const std::vector<int>& cpus);

/// How many of `count` CPUs a quota of a control group lets a process keep busy: rounded down, since a thread
/// that the kernel holds back keeps those waiting that share its work, and at least one.
int within_quota(size_t count, std::optional<double> quota);
/// CPUs that this process may keep busy, and of those the cores (a core's second thread is not counted): what
/// it may run on, and what its control groups' quota allows.
int usable_cpus();
int usable_cores();

/// The logical CPUs of each physical core among `allowed`, first CPU first. `siblings(cpu)` lists the CPUs of
/// the core that `cpu` belongs to, or is empty where that is not known.
std::vector<std::vector<int>> group_by_core(const std::vector<int>& allowed,
                                            const std::function<std::vector<int>(int)>& siblings);
/// "0-3,8" to 0 1 2 3 8, as the kernel writes lists of CPUs; empty when it is malformed.
std::vector<int> parse_cpu_list(const std::string& text);

}  // namespace diffract
