#include "diffract/launch/worker_group.h"

#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/descendants.h"

namespace diffract::launch {
namespace {

using Clock = Reactor::Clock;

constexpr std::chrono::milliseconds kSweepInterval{10};
constexpr std::chrono::seconds kLeftoverGrace{5}, kGiveUpSweeping{30};
// The launcher itself did not run for so long (it was stopped, or the machine slept): silence proves nothing.
constexpr std::chrono::seconds kOwnPause{2};

Clock::duration to_clock(Seconds seconds) { return std::chrono::duration_cast<Clock::duration>(seconds); }

}  // namespace

WorkerGroup::WorkerGroup(Reactor& reactor, Consoles consoles, const LaunchOptions& options, Program program,
                         Events events)
    : reactor_(reactor),
      consoles_(consoles),
      options_(options),
      program_(std::move(program)),
      events_(std::move(events)),
      // torchrun keeps what was to be written to files, too.
      logs_(options.log_dir, options.rendezvous.id, options.redirects.any() || options.tee.any()) {}

void WorkerGroup::start(const Assignment& assignment) {
  ++generation_;
  stopping_ = blame_over_ = failed_ = some_failed_ = false;
  sent_ = 0;
  workers_.clear();
  looked_ = Clock::now();
  try {
    for (int i = 0; i < options_.processes; ++i)
      workers_.push_back(std::make_unique<Worker>(reactor_, consoles_, options_, program_, assignment, i,
                                                  logs_.worker(assignment.restart_count, i)));
  } catch (...) {
    kill_descendants(kLeftoverGrace);
    workers_.clear();
    throw;
  }
  state_ = State::running;
}

void WorkerGroup::signal(int number) const {
  for (const auto& worker : workers_) worker->signal(number);
}

void WorkerGroup::stop(int signal_number) {
  if (state_ == State::idle) return events_.stopped();
  for (const auto& worker : workers_) worker->say_stopped();
  // Not the same one twice: to a program that stops in order, the second of a kind means "at once".
  if (std::exchange(sent_, signal_number) != signal_number) signal(signal_number);
  signal(SIGCONT);  // one that is stopped would not see it
  if (stopping_) return;
  stopping_ = blame_over_ = true;
  if (state_ == State::running) state_ = State::stopping;
  kill_at_ = Clock::now() + to_clock(options_.grace_period);
  reactor_.after(to_clock(options_.grace_period), [this, generation = generation_] {
    if (generation == generation_ && active()) kill();
  });
  finish_if_ended();
}

void WorkerGroup::kill() {
  if (state_ == State::idle) return;
  stopping_ = blame_over_ = true;
  kill_at_ = Clock::now();
  if (state_ == State::running) state_ = State::stopping;
  signal_descendants(SIGKILL);
  finish_if_ended();
}

Worker* WorkerGroup::find(pid_t pid) {
  for (const auto& worker : workers_)
    if (worker->running() && worker->pid() == pid) return worker.get();
  return nullptr;
}

void WorkerGroup::reap() {
  for (;;) {
    siginfo_t info{};
    // Adopted orphans come this way, too.
    if (::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) != 0 || info.si_pid == 0) break;
    take_child_change(info.si_pid, info.si_code, info.si_status);
  }
  finish_if_ended();
}

void WorkerGroup::take_child_change(pid_t pid, int code, int status) {
  Worker* worker = find(pid);
  if (!worker) return;
  if (code == CLD_STOPPED) return worker->stopped(status);
  if (code == CLD_CONTINUED) {
    if (!stopping_) worker->continued();
    return;
  }
  if (code != CLD_EXITED && code != CLD_KILLED && code != CLD_DUMPED) return;
  const auto failure = worker->ended(code == CLD_EXITED ? W_EXITCODE(status, 0) : W_EXITCODE(0, status));
  if (!failure || blame_over_) return;
  if (program_.generate && failure->exit_code == error_info(ErrorKind::some_failed).exit_code)
    some_failed_ = true;  // its share of the job is done, and the others go on with theirs
  else
    report(*failure);
}

void WorkerGroup::report(const WorkerFailure& failure) {
  failed_ = true;
  write_error_file(failure);
  events_.failed(failure);
}

void WorkerGroup::finish_if_ended() {
  if (state_ != State::running && state_ != State::stopping) return;
  const bool running =
      std::any_of(workers_.begin(), workers_.end(), [](const auto& w) { return w->running(); });
  if (running || (failed_ && state_ == State::running)) return;  // after a failure, stop() is to come
  state_ = State::sweeping;
  sweep_began_ = Clock::now();
  if (!stopping_)
    kill_at_ = sweep_began_ + std::min<Clock::duration>(to_clock(options_.grace_period), kLeftoverGrace);
  const auto left = descendants();
  for (const Descendant& process : left)
    log::info("launch: a worker left {} (pid {}) behind; it is ended", process.name, process.pid);
  signal_descendants(SIGTERM);
  sweep();
}

// Waits until nothing is left of what the workers started, which may have left their process groups.
void WorkerGroup::sweep() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  const auto now = Clock::now();
  const bool stuck = now > std::max(kill_at_, sweep_began_) + kGiveUpSweeping;
  const auto left = now >= kill_at_ ? signal_descendants(SIGKILL) : descendants();
  if (!left.empty() && !stuck) return reactor_.after(kSweepInterval, [this] { sweep(); });
  if (stuck)
    log::warning("launch: {} (pid {}) did not end after SIGKILL", left.front().name, left.front().pid);
  state_ = State::idle;
  const bool stopped = stopping_;
  workers_.clear();
  if (stopped)
    events_.stopped();
  else
    events_.succeeded(error_info(ErrorKind::some_failed).exit_code * static_cast<int>(some_failed_));
}

void WorkerGroup::look_for_hangs() {
  const auto now = Clock::now();
  const bool paused = now - std::exchange(looked_, now) > kOwnPause + to_clock(options_.monitor_interval);
  if (state_ != State::running || blame_over_) return;
  for (const auto& worker : workers_) {
    if (paused) worker->excuse(now);
    auto failure = worker->find_hang(now);
    if (!failure) continue;
    blame_over_ = true;       // its end by the signal that follows is no second failure
    worker->signal(SIGKILL);  // it would not heed another
    return report(*failure);
  }
}

}  // namespace diffract::launch
