#include "diffract/distributed/cores.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "diffract/core/control_group.h"
#include "diffract/core/cpus.h"
#include "diffract/core/log.h"
#include "diffract/tensor/threads.h"

namespace diffract::distributed {
namespace {

// All threads that there are; those that come later inherit it. False when the kernel refuses.
bool bind_threads(const std::vector<std::vector<int>>& cores) {
  std::vector<int> cpus;
  for (const auto& core : cores) cpus.insert(cpus.end(), core.begin(), core.end());
  bool bound = bind_thread(0, cpus);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const int thread = std::atoi(entry.path().filename().c_str());
    if (!bind_thread(thread, cpus) && errno != ESRCH) bound = false;
  }
  return bound;
}

}  // namespace

std::vector<std::vector<int>> share_of_cores(const std::vector<std::vector<int>>& cores, int local_rank,
                                             int local_world_size) {
  if (cores.empty()) return {};
  const auto rank = static_cast<size_t>(local_rank);
  const size_t each = cores.size() / static_cast<size_t>(local_world_size);
  if (each == 0) return {cores[rank % cores.size()]};
  const auto begin = cores.begin() + static_cast<std::ptrdiff_t>(rank * each);
  return {begin, begin + static_cast<std::ptrdiff_t>(each)};
}

int threads_within_quota(size_t cores, std::optional<double> quota, int sharing) {
  if (!quota) return static_cast<int>(cores);
  const int all = within_quota(cores * static_cast<size_t>(sharing), quota);
  return std::max(1, all / sharing);
}

void share_cores(int local_rank, int local_world_size, bool bind) {
  const auto all = allowed_cores();
  const auto own = bind ? share_of_cores(all, local_rank, local_world_size) : all;
  if (own.empty()) return;
  if (bind && local_world_size > 1 && !bind_threads(own))
    log::warning("local rank {}: cannot be bound to its cores; the host's ranks may get in each other's way",
                 local_rank);
  const int threads = tensor::chosen_threads().value_or(
      threads_within_quota(own.size(), cpu_quota(), bind ? local_world_size : 1));
  at::set_num_threads(threads);
  log::debug("local rank {} of {}: {} threads on {} cores", local_rank, local_world_size, threads,
             own.size());
}

}  // namespace diffract::distributed
