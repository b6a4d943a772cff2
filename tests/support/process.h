#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace diffract::test {

/// How long a test waits for what is to come: on a busy machine it may take long. What is to come ends the
/// wait.
inline constexpr std::chrono::seconds kPatience(200);

/// What a finished process left behind.
struct ProcessEnd {
  int exit_code;  // 128 + n for a signal n
  std::string out, err;
};

/// How often `part` comes in `text`.
size_t count(const std::string& text, const std::string& part);

/// A program that runs beside the test, with its output in files. Killed, with all it has started in its
/// session, when the handle goes.
class RunningProcess {
 public:
  /// `environment` is added to the test's own; an empty value removes a variable.
  RunningProcess(const std::vector<std::string>& command,
                 const std::map<std::string, std::string>& environment, const std::string& folder = ".");
  ~RunningProcess();
  RunningProcess(RunningProcess&& other) noexcept;
  RunningProcess(const RunningProcess&) = delete;
  RunningProcess& operator=(const RunningProcess&) = delete;
  RunningProcess& operator=(RunningProcess&&) = delete;

  int pid() const { return pid_; }
  void signal(int number) const;
  /// Waits until `text` has come in the standard output so many times; fails the test and gives false when
  /// the process ends or the time is over.
  bool wait_for_output(const std::string& text, size_t times = 1,
                       std::chrono::seconds timeout = kPatience) const;
  /// The same for its standard error; fails no test.
  bool wait_for_error(const std::string& text, std::chrono::seconds timeout = kPatience) const;
  /// Its standard output and error so far.
  std::string output() const;
  std::string errors() const;
  /// Its exit code if it ends within `timeout`; it is left alone otherwise.
  std::optional<int> wait_for(std::chrono::milliseconds timeout);
  /// Waits for its end; beyond the timeout it is killed, which gives exit code 137.
  ProcessEnd wait(std::chrono::seconds timeout = kPatience);

 private:
  bool ended();
  int exit_code() const;
  std::string folder_;  // with its streams
  int pid_ = -1, status_ = 0;
  bool running_ = true;
};

}  // namespace diffract::test
