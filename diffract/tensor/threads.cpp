#include "diffract/tensor/threads.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <mutex>

#include "diffract/core/control_group.h"
#include "diffract/core/cpus.h"
#include "diffract/core/log.h"

// OpenMP's number is each thread's own, and so is MKL's by this function. No header of libtorch declares
// them.
extern "C" int omp_get_max_threads();
extern "C" void omp_set_num_threads(int);
extern "C" __attribute__((weak)) int MKL_Set_Num_Threads_Local(int);

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

OneThread::OneThread()
    : openmp_(omp_get_max_threads()), mkl_(MKL_Set_Num_Threads_Local ? MKL_Set_Num_Threads_Local(1) : 0) {
  omp_set_num_threads(1);
}

OneThread::~OneThread() {
  omp_set_num_threads(openmp_);
  if (MKL_Set_Num_Threads_Local) MKL_Set_Num_Threads_Local(mkl_);
}

}  // namespace diffract::tensor
