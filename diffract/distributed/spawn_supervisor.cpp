#include "diffract/distributed/spawn_supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "diffract/net/deadline.h"

namespace diffract::distributed {
namespace {

using std::chrono::milliseconds;

// A rank that dies makes others fail with PeerError at once; the cause is given this long to show.
constexpr milliseconds kCauseMayFollow(500);
// Between SIGTERM and SIGKILL.
constexpr milliseconds kGrace(5000);
constexpr size_t kMaxMessage = 16384;

constexpr ErrorKind kKinds[] = {ErrorKind::usage,     ErrorKind::checkpoint, ErrorKind::memory,
                                ErrorKind::peer,      ErrorKind::io,         ErrorKind::some_failed,
                                ErrorKind::cancelled, ErrorKind::internal};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (auto& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

// Between fork and exec, where only system calls are safe.
[[noreturn]] void become(pid_t parent, int pipe, char* const* arguments, char* const* environment) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it ended before the line above
  ::fcntl(pipe, F_SETFD, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve("/proc/self/exe", arguments, environment);
  ::_exit(127);
}

}  // namespace

std::string SpawnOutcome::to_text() const {
  if (done) return "done";
  return fmt::format("{} {}", error_info(kind).name, message.substr(0, kMaxMessage));
}

SpawnOutcome SpawnOutcome::from_text(const std::string& text) {
  if (text == "done") return {.done = true};
  const size_t space = text.find(' ');
  for (const ErrorKind kind : kKinds)
    if (space != std::string::npos && text.substr(0, space) == error_info(kind).name)
      return {.kind = kind, .message = text.substr(space + 1)};
  return {};
}

SpawnContext::Supervisor::Supervisor(std::vector<SpawnedProgram> programs, std::string pipe_variable,
                                     Store store)
    : store_(std::move(store)), end_(ended_.get_future().share()) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw IoError("spawn: cannot make a pipe: {}", std::strerror(errno));
  stop_reading_ = FileDescriptor(ends[0]);
  stop_writing_ = FileDescriptor(ends[1]);
  sigset_t all, before;  // signals are the other threads' business
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ =
      std::thread([this, programs = std::move(programs), variable = std::move(pipe_variable)]() mutable {
        try {
          start_all(std::move(programs), variable);
          started_.set_value();
        } catch (...) {
          signal_all(SIGKILL);
          for (Child& child : children_) ::waitpid(child.pid, nullptr, 0);
          started_.set_exception(std::current_exception());
          return;
        }
        supervise();
        ended_.set_value();
      });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  try {
    started_.get_future().get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

SpawnContext::Supervisor::~Supervisor() {
  stop_writing_.reset();
  if (thread_.joinable()) thread_.join();
}

void SpawnContext::Supervisor::start_all(std::vector<SpawnedProgram> programs,
                                         const std::string& pipe_variable) {
  for (size_t rank = 0; rank < programs.size(); ++rank)
    children_.push_back(start(static_cast<int>(rank), std::move(programs[rank]), pipe_variable));
  for (const Child& child : children_) pids_.push_back(child.pid);
}

SpawnContext::Supervisor::Child SpawnContext::Supervisor::start(int rank, SpawnedProgram program,
                                                                const std::string& pipe_variable) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw IoError("spawn: cannot make a pipe: {}", std::strerror(errno));
  FileDescriptor reading(ends[0]), writing(ends[1]);
  ::fcntl(reading.get(), F_SETFL, O_NONBLOCK);
  program.environment.push_back(fmt::format("{}={}", pipe_variable, writing.get()));
  const auto arguments = pointers(program.arguments), environment = pointers(program.environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw IoError("spawn: cannot start rank {}: {}", rank, std::strerror(errno));
  if (pid == 0) become(parent, writing.get(), arguments.data(), environment.data());
  FileDescriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!handle) {
    const int error = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    throw IoError("spawn: cannot watch rank {}: {}", rank, std::strerror(error));
  }
  return {.rank = rank, .pid = pid, .handle = std::move(handle), .pipe = std::move(reading)};
}

void SpawnContext::Supervisor::supervise() {
  const auto running = [&] {
    return std::any_of(children_.begin(), children_.end(), [](const Child& c) { return c.running; });
  };
  const auto failed = [&] { return first_failed_ >= 0 || !stop_reading_; };
  while (running() && !failed()) wait_for_change(-1);
  const net::Deadline cause(kCauseMayFollow);
  while (running() && stop_reading_ && !cause_known_ && !cause.passed())
    wait_for_change(static_cast<int>(cause.left().count()));
  ending_ = true;
  signal_all(SIGTERM);
  const net::Deadline grace(kGrace);
  while (running() && !grace.passed()) wait_for_change(static_cast<int>(grace.left().count()));
  signal_all(SIGKILL);
  while (running()) wait_for_change(-1);
}

void SpawnContext::Supervisor::wait_for_change(int timeout_ms) {
  std::vector<pollfd> entries;
  for (const Child& child : children_) {
    entries.push_back({.fd = child.running ? child.handle.get() : -1, .events = POLLIN, .revents = 0});
    entries.push_back({.fd = child.running ? child.pipe.get() : -1, .events = POLLIN, .revents = 0});
  }
  entries.push_back({.fd = stop_reading_ ? stop_reading_.get() : -1, .events = POLLIN, .revents = 0});
  if (::poll(entries.data(), entries.size(), timeout_ms) <= 0) return;
  for (size_t i = 0; i < children_.size(); ++i) {
    Child& child = children_[i];
    if (entries[2 * i + 1].revents != 0) {
      char buffer[4096];
      const ssize_t got = ::read(child.pipe.get(), buffer, sizeof buffer);
      if (got > 0) child.said.append(buffer, static_cast<size_t>(got));
      if (got == 0) child.pipe.reset();
    }
    if (entries[2 * i].revents != 0) note_end(child);
  }
  if (entries.back().revents != 0) stop_reading_.reset();
}

void SpawnContext::Supervisor::note_end(Child& child) {
  char buffer[4096];
  for (ssize_t got = 0; child.pipe && (got = ::read(child.pipe.get(), buffer, sizeof buffer)) > 0;)
    child.said.append(buffer, static_cast<size_t>(got));
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  child.running = false;
  SpawnOutcome outcome = SpawnOutcome::from_text(child.said);
  if (outcome.done) return;
  if (outcome.message.empty()) {
    outcome.kind = WIFSIGNALED(status) ? ErrorKind::peer : ErrorKind::internal;
    outcome.message =
        WIFSIGNALED(status)
            ? fmt::format("ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
            : fmt::format(
                  "ended with exit code {} before it had done its function. Does the program "
                  "come to the same spawn calls when it is run again?",
                  WEXITSTATUS(status));
  }
  const bool may_be_cause = outcome.kind != ErrorKind::peer || WIFSIGNALED(status);
  // A cause takes the place of what followed from it; what we have ended ourselves is neither.
  if (ending_ || (first_failed_ >= 0 && (cause_known_ || !may_be_cause))) return;
  cause_known_ = may_be_cause;
  first_failed_ = child.rank;
  outcome.message = fmt::format("spawn: rank {} (pid {}): {}", child.rank, child.pid, outcome.message);
  failure_ = std::move(outcome);
}

void SpawnContext::Supervisor::signal_all(int signal) {
  for (const Child& child : children_)
    if (child.running) ::kill(child.pid, signal);  // not reaped yet, so the pid is its own
}

bool SpawnContext::Supervisor::wait(milliseconds timeout) const {
  return end_.wait_for(timeout) == std::future_status::ready;
}

void SpawnContext::Supervisor::rethrow() const {
  if (first_failed_ >= 0) throw Error(failure_.kind, failure_.message);
}

}  // namespace diffract::distributed
