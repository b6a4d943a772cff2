#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "diffract/launch/assignment.h"
#include "diffract/launch/failure.h"
#include "diffract/launch/heartbeat_page.h"
#include "diffract/launch/options.h"
#include "diffract/launch/process.h"
#include "diffract/launch/program.h"
#include "diffract/launch/worker_stream.h"

namespace diffract::launch {

/// The launcher's two consoles.
struct Consoles {
  Console& out;
  Console& err;
};

/// One process of the job on this node, with its streams and its heartbeat.
class Worker {
 public:
  using Clock = std::chrono::steady_clock;

  /// Starts it; `folder` takes its log files. Throws UsageError when the program cannot be executed.
  Worker(Reactor& reactor, const Consoles& consoles, const LaunchOptions& options, const Program& program,
         const Assignment& assignment, int local_rank, std::filesystem::path folder);

  pid_t pid() const { return pid_; }
  bool running() const { return !exit_code_; }
  std::filesystem::path error_file() const { return folder_ / "error.json"; }

  /// Tells the worker that a signal that comes is the launcher's: what ends it is said by the launcher.
  void say_stopped() { heartbeat_.say_stopped(); }
  /// Sends a signal to the worker and its process group, unless it has ended.
  void signal(int number) const;
  /// Takes note that it has ended. The failure, unless its exit code is 0.
  std::optional<WorkerFailure> ended(int wait_status);
  void stopped(int by_signal);
  void continued();
  /// A failure when it has been stopped, or silent with a beat due, for longer than the hang timeout.
  std::optional<WorkerFailure> find_hang(Clock::time_point now);
  /// Counts anew how long it is silent.
  void excuse(Clock::time_point now);

 private:
  WorkerFailure failure(int exit_code, std::string message, bool own_fault = false);
  std::string name() const;

  const LaunchOptions& options_;
  int rank_, local_rank_;
  std::filesystem::path folder_;
  std::unique_ptr<WorkerStream> out_, err_;  // null: the worker writes to the launcher's own
  HeartbeatPage heartbeat_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
  std::optional<Clock::time_point> stopped_since_;
};

}  // namespace diffract::launch
