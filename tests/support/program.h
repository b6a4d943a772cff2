#pragma once
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_folder.h"

namespace diffract::test {

struct ProgramResult {
  int exit_code;  // 128 + n for a signal n
  std::string out, err;
};

/// A program that runs beside the test. It is killed when the object goes.
class Process {
 public:
  struct Start {
    std::vector<std::string> command;  // the program's path and its arguments
    std::string folder = ".";
    std::vector<std::pair<std::string, std::string>> environment = {};  // beside that of the test
  };
  explicit Process(const Start& start);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const;
  /// Waits for its end; nothing if it is still running after `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  /// Waits for its end, or ends it with exit code 137 after `timeout`.
  ProgramResult finish(std::chrono::milliseconds timeout = std::chrono::seconds(120));
  /// What it has written so far.
  std::string out() const;
  std::string err() const;

 private:
  TempFolder streams_;
  pid_t pid_ = -1;
  int descriptor_ = -1;  // of the process, readable when it has ended
  std::optional<int> exit_code_;
};

/// Runs the built `diffract` with these arguments in a folder and waits for it; a run beyond `timeout` is
/// killed and gives exit code 137.
ProgramResult run_diffract(const std::vector<std::string>& arguments, const std::string& folder,
                           std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace diffract::test
