#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "diffract/launch/log_folder.h"
#include "diffract/launch/worker.h"

namespace diffract::launch {

/// The processes of this node: started together, watched, and ended together with all that they started.
class WorkerGroup {
 public:
  struct Events {
    std::function<void(const WorkerFailure&)>
        failed;  // each failure, as it is seen; not those that stop() causes
    /// Every worker has ended well and nothing is left of them. The exit code is 0, or generate's for "some
    /// images failed".
    std::function<void(int exit_code)> succeeded;
    std::function<void()> stopped;  // after stop(): nothing is left
  };

  WorkerGroup(Reactor& reactor, Consoles consoles, const LaunchOptions& options, Program program,
              Events events);

  /// Starts all workers. Throws UsageError when the program cannot be executed; none is left then.
  void start(const Assignment& assignment);
  /// Sends `signal`, and SIGKILL when the grace period has passed. `stopped` is called when all have ended;
  /// at once when none runs. Calling it again only adds the signal, unless that was the last one sent.
  void stop(int signal);
  /// Stops now.
  void kill();
  /// Passes a signal on to the workers.
  void signal(int number) const;
  /// True from start() until `succeeded` or `stopped`.
  bool active() const { return state_ != State::idle; }

  /// Looks at which children changed: on SIGCHLD.
  void reap();
  /// Looks at the heartbeats: every monitor interval.
  void look_for_hangs();

  void discard_logs() { logs_.discard(); }

 private:
  enum class State { idle, running, stopping, sweeping };
  Worker* find(pid_t pid);
  void take_child_change(pid_t pid, int code, int status);
  void report(const WorkerFailure& failure);
  void finish_if_ended();
  void sweep();

  Reactor& reactor_;
  Consoles consoles_;
  const LaunchOptions& options_;
  Program program_;
  Events events_;
  LogFolder logs_;
  State state_ = State::idle;
  bool stopping_ = false;     // stop() was called since start()
  int sent_ = 0;              // the last signal of stop() since start()
  bool blame_over_ = false;   // who ends from here on is not the cause
  bool failed_ = false;       // a failure was reported
  bool some_failed_ = false;  // a worker said that some of its images failed
  std::vector<std::unique_ptr<Worker>> workers_;
  Reactor::Clock::time_point looked_, sweep_began_, kill_at_;
  uint64_t generation_ = 0;  // of start(): a timer of an earlier one does nothing
};

}  // namespace diffract::launch
