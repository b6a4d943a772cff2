#include "diffract/launch/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"
#include "diffract/core/log.h"
#include "diffract/launch/descendants.h"
#include "diffract/launch/process.h"
#include "diffract/launch/process_name.h"

namespace diffract::launch {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kKillLimit{5000};
constexpr std::chrono::seconds kImpatience{2};  // from the second signal to killing an agent that is deaf

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
  name_process("diffract-agent", "diffract launch (agent)");
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

// Passes signals on to the agent, and watches whether it goes on.
class Guard {
 public:
  Guard(int signals, pid_t agent, Seconds hang_timeout)
      : signals_(signals), agent_(agent), hang_timeout_(hang_timeout) {}

  enum class End { ended, deaf, hangs };
  // Returns when the agent has ended, which SIGCHLD tells, does not heed a second signal, or stays stopped.
  End watch() {
    for (;;) {
      pollfd polled{.fd = signals_, .events = POLLIN, .revents = 0};
      const auto before = Clock::now();
      const bool silent = ::poll(&polled, 1, is_watched() ? kLookMs : -1) == 0;
      // What passed while this process itself did not run proves nothing.
      const auto passed =
          std::min<Clock::duration>(Clock::now() - before, 2 * std::chrono::milliseconds(kLookMs));
      if (silent) {
        if (asked_twice_ && (deaf_for_ += passed) > kImpatience) return End::deaf;
        if (stopped_ && watches_hangs() && (stopped_for_ += passed) > hang_timeout_) return End::hangs;
        continue;
      }
      const int signal = read_signal(signals_);
      if (signal == SIGCHLD && has_ended(agent_)) return End::ended;
      if (signal == SIGCHLD) look_whether_it_is_stopped();
      if (signal == 0 || signal == SIGCHLD) continue;
      ::kill(agent_, signal);
      if (signal != SIGUSR1 && signal != SIGUSR2) asked_twice_ = std::exchange(asked_, true);
    }
  }
  double stopped_seconds() const { return Seconds(stopped_for_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kLookMs = 50;

  bool watches_hangs() const { return hang_timeout_.count() > 0; }
  bool is_watched() const { return asked_twice_ || (stopped_ && watches_hangs()); }

  void look_whether_it_is_stopped() {
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(agent_), &info, WSTOPPED | WCONTINUED | WNOHANG) != 0 ||
        info.si_pid != agent_)
      return;
    const bool was_stopped = std::exchange(stopped_, info.si_code == CLD_STOPPED);
    if (stopped_ == was_stopped) return;
    stopped_for_ = {};
    if (stopped_)
      log::warning("launch: the launcher's agent (pid {}), which watches the processes, is stopped by {}{}",
                   agent_, signal_name(info.si_status),
                   watches_hangs()
                       ? fmt::format("; it counts as hung in {:g} s unless it goes on (kill -CONT {})",
                                     hang_timeout_.count(), agent_)
                       : "");
    else
      log::info("launch: the launcher's agent (pid {}) goes on", agent_);
  }

  int signals_;
  pid_t agent_;
  Seconds hang_timeout_;
  bool asked_ = false, asked_twice_ = false, stopped_ = false;
  Clock::duration deaf_for_{}, stopped_for_{};
};

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

int run_guarded(const std::function<int(int lifeline)>& agent, Seconds hang_timeout) {
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
  Guard guard(signals.get(), pid, hang_timeout);
  const auto end = guard.watch();
  if (end != Guard::End::ended) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!kill_descendants(kKillLimit))
    log::warning(
        "launch: a process did not end after SIGKILL; it waits in the kernel, for a disk or a network");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (end == Guard::End::hangs) {
    log::write(
        log::Level::error,
        fmt::format("launch: the launcher's agent (pid {}) hung: it was stopped for {:.1f} s; its processes "
                    "were ended",
                    pid, guard.stopped_seconds()));
    return error_info(ErrorKind::peer).exit_code;
  }
  log::write(log::Level::error,
             fmt::format("launch: the launcher's agent (pid {}) was killed by {}; its processes "
                         "were ended",
                         pid, signal_name(WTERMSIG(status))));
  return 128 + WTERMSIG(status);
}

}  // namespace diffract::launch
