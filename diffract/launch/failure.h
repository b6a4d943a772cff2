#pragma once
#include <cstdint>
#include <string>

#include "diffract/core/json.h"

namespace diffract::launch {

/// Why a job fails: a process that ended badly or hangs, or a machine that was lost.
struct WorkerFailure {
  std::string host;
  int rank = -1, local_rank = -1;  // -1: the machine as a whole
  int64_t pid = 0;
  bool own_fault = false;  // certainly nobody else's consequence: a hang
  int exit_code = 0;       // what the launcher exits with
  std::string message;     // "was killed by SIGKILL (9)"
  std::string last_lines;  // of its stderr
  std::string error_file;
  int64_t time = 0;  // seconds since 1970

  /// "rank 1 (local rank 1) on host n2, pid 123, was killed by SIGKILL (9)".
  std::string summary() const;
  /// The summary, the last lines of stderr and the error file: what a user is told once.
  std::string report() const;

  Json to_json() const;
  /// Reads what another machine sent. Throws CheckpointError naming what is wrong with it.
  static WorkerFailure from_json(const Json& json, const std::string& source);
};

/// Writes `failure.error_file` in the shape of torchrun's error handler, unless the worker did so itself.
/// Errors are logged, not thrown: the job has failed for another reason already.
void write_error_file(const WorkerFailure& failure);
/// Passes the cause on to who started the launcher: to the file that TORCHELASTIC_ERROR_FILE names, if any.
void pass_on_error_file(const WorkerFailure& failure);

}  // namespace diffract::launch
