#pragma once
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace diffract::test {

using Milliseconds = std::chrono::milliseconds;

/// How long a test waits for what is to come: on a busy machine it may take long. What is to come ends the
/// wait.
inline constexpr Milliseconds kPatience(120000);

/// Waits until `condition` holds, looking every few milliseconds; false when it does not within `limit`.
bool wait_until(const std::function<bool()>& condition, Milliseconds limit = kPatience);

/// A process of the system, and what it was started as.
struct MarkedProcess {
  pid_t pid;
  std::string command;
};

/// A launcher that runs while the test looks on. All that it starts carries a mark in its environment, by
/// which the test finds what is left of it. The destructor kills what is.
class RunningLauncher {
 public:
  struct Setting {
    std::map<std::string, std::string> environment = {};
    std::vector<std::string> wrapper = {};  // a command that executes the launcher, e.g. "nohup"
    std::string folder = "";                // to run in
  };
  explicit RunningLauncher(const std::vector<std::string>& arguments, const Setting& setting);
  explicit RunningLauncher(const std::vector<std::string>& arguments)
      : RunningLauncher(arguments, Setting{}) {}
  ~RunningLauncher();
  RunningLauncher(const RunningLauncher&) = delete;
  RunningLauncher& operator=(const RunningLauncher&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// The exit code, 128 + n for signal n; -1 when it does not end within `limit`, and then it is killed.
  int wait(Milliseconds limit = kPatience);

  std::string out() const;
  std::string err() const;
  bool wait_for_out(const std::string& text, Milliseconds limit = kPatience) const;
  bool wait_for_err(const std::string& text, Milliseconds limit = kPatience) const;
  /// The living processes with the mark: the launcher's two and all below them.
  std::vector<MarkedProcess> processes() const;
  /// Those whose command begins with `start`.
  std::vector<pid_t> processes_of(const std::string& start) const;
  /// The launcher's agent, which has a name of its own; -1 before it has.
  pid_t agent() const;
  /// True once no process with the mark is left.
  bool all_gone(Milliseconds limit = kPatience) const;
  const TempFolder& folder() const { return folder_; }

 private:
  TempFolder folder_;
  std::string mark_;
  pid_t pid_ = -1;
  int exit_code_ = -1;
};

/// The launcher's arguments for a script: `options`, and what /bin/sh is to do.
std::vector<std::string> shell(std::vector<std::string> options, const std::string& script);

/// What is left of a run that has ended.
struct LaunchResult {
  int exit_code;
  std::string out, err;
};
LaunchResult launch(const std::vector<std::string>& arguments, const RunningLauncher::Setting& setting = {},
                    Milliseconds limit = kPatience);

/// How often `part` stands in `text`.
size_t count_of(const std::string& text, const std::string& part);
bool contains(const std::string& text, const std::string& part);

}  // namespace diffract::test
