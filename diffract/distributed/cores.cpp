#include "diffract/distributed/cores.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "diffract/core/log.h"

namespace diffract::distributed {
namespace {

constexpr int kMaxCpus = 8192;

std::vector<int> siblings_of(int cpu) {
  std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  std::string line;
  std::getline(file, line);
  return parse_cpu_list(line);
}

// A set of as many CPUs as the kernel may know.
class CpuSet {
 public:
  CpuSet() : set_(CPU_ALLOC(kMaxCpus)) { CPU_ZERO_S(bytes(), set_); }
  ~CpuSet() { CPU_FREE(set_); }
  CpuSet(const CpuSet&) = delete;
  CpuSet& operator=(const CpuSet&) = delete;

  static size_t bytes() { return CPU_ALLOC_SIZE(kMaxCpus); }
  cpu_set_t* get() { return set_; }
  bool has(int cpu) const { return CPU_ISSET_S(static_cast<size_t>(cpu), bytes(), set_); }
  void add(int cpu) { CPU_SET_S(static_cast<size_t>(cpu), bytes(), set_); }

 private:
  cpu_set_t* set_;
};

std::optional<int> chosen_threads() {
  const char* value = std::getenv("OMP_NUM_THREADS");
  const int threads = value ? std::atoi(value) : 0;
  return threads > 0 ? std::optional(threads) : std::nullopt;
}

// All threads that there are; those that come later inherit it. False when the kernel refuses.
bool bind_threads(const std::vector<std::vector<int>>& cores) {
  CpuSet set;
  for (const auto& core : cores)
    for (const int cpu : core) set.add(cpu);
  bool bound = ::sched_setaffinity(0, CpuSet::bytes(), set.get()) == 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const int thread = std::atoi(entry.path().filename().c_str());
    if (::sched_setaffinity(thread, CpuSet::bytes(), set.get()) != 0 && errno != ESRCH) bound = false;
  }
  return bound;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  const char *at = text.data(), *end = text.data() + text.size();
  while (at < end) {
    int first = 0;
    const auto begun = std::from_chars(at, end, first);
    int last = first;
    const char* stop = begun.ptr;
    if (begun.ec == std::errc() && stop < end && *stop == '-') {
      const auto rest = std::from_chars(stop + 1, end, last);
      if (rest.ec != std::errc()) return {};
      stop = rest.ptr;
    }
    if (begun.ec != std::errc() || first < 0 || last < first || last >= kMaxCpus ||
        (stop < end && *stop != ','))
      return {};
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    at = stop + 1;
  }
  return cpus;
}

std::vector<std::vector<int>> group_by_core(const std::vector<int>& allowed,
                                            const std::function<std::vector<int>(int)>& siblings) {
  std::map<int, std::vector<int>> cores;  // by the lowest CPU of the core
  for (const int cpu : allowed) {
    const auto all = siblings(cpu);
    cores[all.empty() ? cpu : *std::min_element(all.begin(), all.end())].push_back(cpu);
  }
  std::vector<std::vector<int>> grouped;
  grouped.reserve(cores.size());
  for (auto& [first, cpus] : cores) grouped.push_back(std::move(cpus));
  return grouped;
}

std::vector<int> allowed_cpus() {
  CpuSet set;
  if (::sched_getaffinity(0, CpuSet::bytes(), set.get()) != 0) return {};
  std::vector<int> cpus;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu)
    if (set.has(cpu)) cpus.push_back(cpu);
  return cpus;
}

std::vector<std::vector<int>> share_of_cores(const std::vector<std::vector<int>>& cores, int local_rank,
                                             int local_world_size) {
  if (cores.empty()) return {};
  const auto rank = static_cast<size_t>(local_rank);
  const size_t each = cores.size() / static_cast<size_t>(local_world_size);
  if (each == 0) return {cores[rank % cores.size()]};
  const auto begin = cores.begin() + static_cast<std::ptrdiff_t>(rank * each);
  return {begin, begin + static_cast<std::ptrdiff_t>(each)};
}

void share_cores(int local_rank, int local_world_size, bool bind) {
  const auto all = group_by_core(allowed_cpus(), siblings_of);
  const auto own = bind ? share_of_cores(all, local_rank, local_world_size) : all;
  if (own.empty()) return;
  if (bind && local_world_size > 1 && !bind_threads(own))
    log::warning("local rank {}: cannot be bound to its cores; the host's ranks may get in each other's way",
                 local_rank);
  const int threads = chosen_threads().value_or(static_cast<int>(own.size()));
  at::set_num_threads(threads);
  log::debug("local rank {} of {}: {} threads on {} cores", local_rank, local_world_size, threads,
             own.size());
}

}  // namespace diffract::distributed
