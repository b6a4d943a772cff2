#pragma once
#include <optional>

namespace diffract::tensor {

/// The number of threads that OMP_NUM_THREADS asks for.
std::optional<int> chosen_threads();

/// Called before this process computes. libtorch takes a thread for each core that the process may run on;
/// where the quota of its control groups is less, that would keep the threads waiting for each other, so the
/// number is brought down to the quota. Happens once; a number that OMP_NUM_THREADS or at::set_num_threads
/// chose stays.
void take_chosen_threads();

/// While it lives, what this thread computes with libtorch takes no other threads: for threads that are
/// themselves parallel, and beside others that compute.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int openmp_, mkl_;
};

}  // namespace diffract::tensor
