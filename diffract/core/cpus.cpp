#include "diffract/core/cpus.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>

#include "diffract/core/control_group.h"

namespace diffract {
namespace {

constexpr int kMaxCpus = 8192;

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

std::vector<int> siblings_of(int cpu) {
  std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  std::string line;
  std::getline(file, line);
  return parse_cpu_list(line);
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

std::vector<std::vector<int>> allowed_cores() { return group_by_core(allowed_cpus(), siblings_of); }

bool bind_thread(int thread, const std::vector<int>& cpus) {
  CpuSet set;
  for (const int cpu : cpus) set.add(cpu);
  return ::sched_setaffinity(thread, CpuSet::bytes(), set.get()) == 0;
}

int within_quota(size_t count, std::optional<double> quota) {
  const auto all = static_cast<double>(count);
  return std::max(1, static_cast<int>(quota ? std::min(all, std::floor(*quota)) : all));
}

int usable_cpus() { return within_quota(allowed_cpus().size(), cpu_quota()); }
int usable_cores() { return within_quota(allowed_cores().size(), cpu_quota()); }

}  // namespace diffract
