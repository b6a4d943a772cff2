#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

namespace diffract::distributed {

/// The processes of one spawn call. They end with it: without join, its destructor ends those that still run,
/// and none outlives this process, however it ends.
class SpawnContext {
 public:
  class Supervisor;
  explicit SpawnContext(std::shared_ptr<Supervisor> supervisor = nullptr)
      : supervisor_(std::move(supervisor)) {}

  /// Waits for all. When one fails, the others are ended, and the failing rank's error is thrown with its
  /// kind, rank and message; a rank that a signal ended gives PeerError naming it.
  void join() const;
  /// As join(), but false when some still run after the timeout.
  bool join(std::chrono::milliseconds timeout) const;
  std::vector<int> pids() const;

 private:
  std::shared_ptr<Supervisor> supervisor_;  // null in a process that was itself on the way to its own call
};

/// Runs `fn(rank)` in `nprocs` processes on this host, rank 0 to nprocs - 1, as torch.multiprocessing.spawn
/// does.
///
/// A process cannot be forked once libtorch has threads, so each one runs the same program again, with the
/// same arguments, from the start of main to this call; there it runs `fn` and ends. So: what comes before
/// must lead to the same spawn calls, made by one thread, whenever the program is run again; earlier calls
/// return at once in the new process, as if they had been done. `fn` may call spawn itself: then the new
/// processes run through `fn` up to that call.
///
/// From the call on, the new processes have RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and
/// MASTER_PORT of a world of their own, so that PartialState and init_process_group work in `fn`; a
/// MASTER_ADDR and MASTER_PORT that were set by hand are kept. Throws UsageError for nprocs below 1 and
/// IoError when a process cannot be started.
SpawnContext spawn(const std::function<void(int rank)>& fn, int nprocs, bool join = true);

}  // namespace diffract::distributed
