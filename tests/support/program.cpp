#include "tests/support/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace diffract::test {
namespace {

std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// The environment of the test with some variables set; an empty value takes a variable away.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable; ++variable) {
    const std::string text = *variable;
    bool changed = false;
    for (const auto& [name, value] : changes) changed = changed || text.starts_with(name + "=");
    if (!changed) all.push_back(text);
  }
  for (const auto& [name, value] : changes)
    if (!value.empty()) all.push_back(name + "=" + value);
  return all;
}

}  // namespace

Process::Process(const Start& start) {
  const std::string out = (streams_ / "out").string(), err = (streams_ / "err").string();
  auto command = start.command;
  auto environment = environment_with(start.environment);
  const auto argv = pointers(command), envp = pointers(environment);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {  // only calls that are safe between fork and exec
    const int out_file = ::open(out.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    const int err_file = ::open(err.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    ::dup2(out_file, STDOUT_FILENO);
    ::dup2(err_file, STDERR_FILENO);
    if (::chdir(start.folder.c_str()) != 0) ::_exit(126);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  descriptor_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (descriptor_ < 0) throw std::runtime_error("pidfd_open failed");
}

Process::~Process() {
  send(SIGKILL);
  wait(std::chrono::seconds(10));
  ::close(descriptor_);
}

void Process::send(int signal) const {
  if (!exit_code_) ::kill(pid_, signal);
}

std::optional<int> Process::wait(std::chrono::milliseconds timeout) {
  if (exit_code_) return exit_code_;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ended{.fd = descriptor_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&ended, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) break;
    if (ready == 0) return {};
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

ProgramResult Process::finish(std::chrono::milliseconds timeout) {
  if (!wait(timeout)) send(SIGKILL);
  const int code = wait(std::chrono::seconds(10)).value_or(137);
  return {.exit_code = code, .out = out(), .err = err()};
}

std::string Process::out() const { return read_all(streams_ / "out"); }
std::string Process::err() const { return read_all(streams_ / "err"); }

ProgramResult run_diffract(const std::vector<std::string>& arguments, const std::string& folder,
                           std::chrono::seconds timeout) {
  Process::Start start{.command = {DIFFRACT_PROGRAM}, .folder = folder};
  start.command.insert(start.command.end(), arguments.begin(), arguments.end());
  return Process(start).finish(timeout);
}

}  // namespace diffract::test
