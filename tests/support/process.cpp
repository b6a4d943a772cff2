#include "tests/support/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace diffract::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPause(2);

std::string read_all(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry; ++entry) {
    const std::string line = *entry;
    const size_t equals = line.find('=');
    all[line.substr(0, equals)] = line.substr(equals + 1);
  }
  for (const auto& [name, value] : changes) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all)
    if (!value.empty()) lines.push_back(name + "=" + value);
  return lines;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const auto& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

}  // namespace

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

RunningProcess::RunningProcess(const std::vector<std::string>& command,
                               const std::map<std::string, std::string>& environment,
                               const std::string& folder) {
  std::string pattern = (fs::temp_directory_path() / "diffract-process-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make " + pattern);
  folder_ = pattern;
  const std::string out = folder_ + "/out", err = folder_ + "/err";
  const auto lines = merged_environment(environment);
  const auto arguments = pointers(command), variables = pointers(lines);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  // Only system calls between fork and exec.
  ::setsid();
  ::dup2(::open(out.c_str(), O_CREAT | O_WRONLY, 0600), STDOUT_FILENO);
  ::dup2(::open(err.c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
  ::execvpe(arguments[0], arguments.data(), variables.data());
  ::_exit(127);
}

RunningProcess::RunningProcess(RunningProcess&& other) noexcept
    : folder_(std::move(other.folder_)), pid_(other.pid_), status_(other.status_), running_(other.running_) {
  other.pid_ = -1;
  other.running_ = false;
  other.folder_.clear();
}

RunningProcess::~RunningProcess() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);
  if (running_) ::waitpid(pid_, nullptr, 0);
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void RunningProcess::signal(int number) const {
  if (running_) ::kill(pid_, number);
}

std::string RunningProcess::output() const { return read_all(folder_ + "/out"); }
std::string RunningProcess::errors() const { return read_all(folder_ + "/err"); }

int RunningProcess::exit_code() const {
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

std::optional<int> RunningProcess::wait_for(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!ended()) {
    if (std::chrono::steady_clock::now() >= deadline) return {};
    std::this_thread::sleep_for(kPause);
  }
  return exit_code();
}

bool RunningProcess::ended() {
  if (running_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) running_ = false;
  return !running_;
}

bool RunningProcess::wait_for_output(const std::string& text, size_t times,
                                     std::chrono::seconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (count(output(), text) < times) {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid == pid_ || std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "no \"" << text << "\" from process " << pid_ << ":\n"
                    << read_all(folder_ + "/out") << read_all(folder_ + "/err");
      return false;
    }
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

bool RunningProcess::wait_for_error(const std::string& text, std::chrono::seconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (count(errors(), text) == 0) {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid == pid_ || std::chrono::steady_clock::now() > deadline) return count(errors(), text) > 0;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

ProcessEnd RunningProcess::wait(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!ended()) {
    if (std::chrono::steady_clock::now() > deadline) ::kill(-pid_, SIGKILL);
    std::this_thread::sleep_for(kPause);
  }
  return {.exit_code = exit_code(), .out = read_all(folder_ + "/out"), .err = read_all(folder_ + "/err")};
}

}  // namespace diffract::test
