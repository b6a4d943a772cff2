#include "diffract/tensor/threads.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <mutex>

#include "diffract/core/control_group.h"
#include "diffract/core/cpus.h"
#include "diffract/core/log.h"

namespace diffract::tensor {
namespace {

// What libtorch takes by itself: a thread a core with MKL, else a thread a CPU.
bool is_libtorchs_choice(int threads) {
  const auto all = static_cast<size_t>(threads);
  return all == allowed_cores().size() || all == allowed_cpus().size();
}

void keep_within_quota() {
  const auto quota = cpu_quota();
  if (!quota || chosen_threads()) return;
  const int threads = at::get_num_threads();
  const int usable = within_quota(static_cast<size_t>(threads), quota);
  if (usable == threads || !is_libtorchs_choice(threads)) return;
  at::set_num_threads(usable);
  log::debug("{} threads in place of {}: the control group's quota is {:.2f} processors", usable, threads,
             *quota);
}

}  // namespace

std::optional<int> chosen_threads() {
  const char* value = std::getenv("OMP_NUM_THREADS");
  const int threads = value ? std::atoi(value) : 0;
  return threads > 0 ? std::optional(threads) : std::nullopt;
}

void take_chosen_threads() {
  static std::once_flag once;
  std::call_once(once, keep_within_quota);
}

}  // namespace diffract::tensor
