#include "diffract/launch/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"
#include "diffract/core/log.h"
#include "diffract/launch/descendants.h"
#include "diffract/launch/process.h"

namespace diffract::launch {
namespace {

constexpr std::chrono::milliseconds kKillLimit{5000};
constexpr int kImpatienceMs = 2000;  // from the second signal to killing an agent that does not heed it

// Those that whoever started the launcher wants ignored (nohup, a shell's background jobs) stay so.
sigset_t passed_on() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD}) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) ::sigaddset(&set, signal);
  }
  return set;
}

// Descriptors 0, 1 and 2, if the caller closed one, so that no other file takes its number.
void open_standard_streams() {
  for (int descriptor = 0; descriptor < 3; ++descriptor)
    if (::fcntl(descriptor, F_GETFD) < 0) ::open("/dev/null", O_RDWR);
}

[[noreturn]] void be_agent(const std::function<int(int)>& agent, int lifeline) {
  ::setpgid(0, 0);  // Ctrl-C reaches the parent alone, which passes it on once
  // If the agent is stopped when the parent dies, this wakes it to see its lifeline closed.
  ::prctl(PR_SET_PDEATHSIG, SIGCONT);
  ::signal(SIGTTOU, SIG_IGN);
  adopt_orphans();
  int code = error_info(ErrorKind::internal).exit_code;
  try {
    code = agent(lifeline);
  } catch (const Error& error) {
    log::write(log::Level::error, error.what());
    code = error_info(error.kind()).exit_code;
  } catch (const std::exception& error) {
    log::write(log::Level::error, error.what());
  }
  kill_descendants(kKillLimit);  // after an error; else there are none
  std::fflush(nullptr);
  ::_exit(code);
}

// Looks without taking the exit status, so that the pid stays the agent's.
bool has_ended(pid_t agent) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(agent), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == agent;
}

// Passes signals on until the agent has ended, which SIGCHLD tells. Returns false when the agent did not heed
// the second.
bool pass_on_signals(int signals, pid_t agent) {
  int stops = 0;
  int limit = -1;
  for (;;) {
    pollfd polled{.fd = signals, .events = POLLIN, .revents = 0};
    if (::poll(&polled, 1, limit) == 0) return false;
    const int signal = read_signal(signals);
    if (signal == SIGCHLD && has_ended(agent)) return true;
    if (signal == 0 || signal == SIGCHLD) continue;
    ::kill(agent, signal);
    if (signal != SIGUSR1 && signal != SIGUSR2 && ++stops == 2) limit = kImpatienceMs;
  }
}

}  // namespace

int open_signals() {
  ::signal(SIGCHLD, SIG_DFL);  // where it is ignored, the kernel keeps no exit codes
  const sigset_t set = passed_on();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int read_signal(int descriptor) {
  signalfd_siginfo info{};
  return ::read(descriptor, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

int run_guarded(const std::function<int(int lifeline)>& agent) {
  open_standard_streams();
  const FileDescriptor signals(open_signals());
  adopt_orphans();
  int lifeline[2];
  if (!signals || ::pipe2(lifeline, O_CLOEXEC) != 0)
    throw IoError("cannot start the launcher: {}", std::strerror(errno));
  const FileDescriptor far_end(lifeline[0]);
  FileDescriptor near_end(lifeline[1]);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw IoError("cannot start the launcher's agent: {}", std::strerror(errno));
  if (pid == 0) {
    near_end.reset();
    be_agent(agent, far_end.get());
  }
  if (!pass_on_signals(signals.get(), pid)) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!kill_descendants(kKillLimit))
    log::warning(
        "launch: a process did not end after SIGKILL; it waits in the kernel, for a disk or a network");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  log::write(log::Level::error,
             fmt::format("launch: the launcher's agent (pid {}) was killed by {}; its processes "
                         "were ended",
                         pid, signal_name(WTERMSIG(status))));
  return 128 + WTERMSIG(status);
}

}  // namespace diffract::launch
