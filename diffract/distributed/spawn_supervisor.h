#pragma once
#include <sys/types.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"
#include "diffract/distributed/spawn.h"
#include "diffract/distributed/store.h"

namespace diffract::distributed {

/// How a spawned process ends; sent through its pipe.
struct SpawnOutcome {
  bool done = false;
  ErrorKind kind = ErrorKind::internal;
  std::string message;

  std::string to_text() const;
  static SpawnOutcome from_text(const std::string& text);
};

/// What one process is started with.
struct SpawnedProgram {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=value
};

/// Starts processes and stays with them until the last has ended, on a thread of its own: the signal that
/// ends a process with its parent comes when the *thread* that forked it ends.
class SpawnContext::Supervisor {
 public:
  /// A process finds its pipe's number in `pipe_variable`.
  /// `store` is the one in which the processes meet.
  Supervisor(std::vector<SpawnedProgram> programs, std::string pipe_variable, Store store);
  ~Supervisor();

  bool wait(std::chrono::milliseconds timeout) const;
  void rethrow() const;  // after wait; throws the first failure
  const std::vector<int>& pids() const { return pids_; }

 private:
  struct Child {
    int rank;
    pid_t pid;
    FileDescriptor handle, pipe;
    std::string said;
    bool running = true;
  };
  void start_all(std::vector<SpawnedProgram> programs, const std::string& pipe_variable);
  Child start(int rank, SpawnedProgram program, const std::string& pipe_variable);
  void supervise();
  void wait_for_change(int timeout_ms);
  void note_end(Child& child);
  void signal_all(int signal);

  Store store_;
  std::vector<Child> children_;
  std::vector<int> pids_;
  FileDescriptor stop_reading_,
      stop_writing_;  // a byte, or the end of file, asks the thread to end the processes
  int first_failed_ = -1;
  bool cause_known_ = false;  // else the failure may only follow from another rank's
  bool ending_ = false;       // the processes have been told to end
  SpawnOutcome failure_;
  std::promise<void> started_, ended_;
  std::shared_future<void> end_;
  std::thread thread_;
};

}  // namespace diffract::distributed
