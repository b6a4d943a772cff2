#include "diffract/launch/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/machine.h"
#include "diffract/launch/worker_environment.h"

namespace diffract::launch {
namespace {

FileDescriptor open_log(const std::filesystem::path& file) {
  FileDescriptor log(::open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644));
  if (!log) throw IoError("cannot open the log file {}: {}", file.string(), std::strerror(errno));
  return log;
}

// A terminal's input belongs to the launcher: no worker may take Ctrl-C or the user's lines from it.
FileDescriptor open_input() {
  return FileDescriptor(::isatty(STDIN_FILENO) ? ::open("/dev/null", O_RDONLY | O_CLOEXEC)
                                               : ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
}

std::vector<std::string> with_local_rank(std::vector<std::string> arguments, int local_rank) {
  static constexpr std::string_view kMacro = "${local_rank}";  // torchrun's
  for (std::string& argument : arguments)
    for (size_t at; (at = argument.find(kMacro)) != std::string::npos;)
      argument.replace(at, kMacro.size(), std::to_string(local_rank));
  return arguments;
}

// stderr always passes through the launcher, which keeps the last lines; stdout only where it is to be
// copied, filtered or named.
std::unique_ptr<WorkerStream> make_stream(Reactor& reactor, Console& console, const LaunchOptions& options,
                                          int local_rank, int bit, const std::filesystem::path& log) {
  const bool redirected = (options.redirects.of(local_rank) & bit) != 0,
             teed = (options.tee.of(local_rank) & bit) != 0;
  const bool filtered =
      !options.local_ranks_filter.empty() && !options.local_ranks_filter.contains(local_rank);
  const bool shown = !filtered && (teed || !redirected);
  if (bit == Streams::kOut && shown && !teed) return nullptr;
  return std::make_unique<WorkerStream>(reactor, shown ? &console : nullptr,
                                        redirected || teed ? open_log(log) : FileDescriptor(),
                                        teed ? fmt::format("[{}{}]:", options.role, local_rank) : "");
}

}  // namespace

Worker::Worker(Reactor& reactor, const Consoles& consoles, const LaunchOptions& options,
               const Program& program, const Assignment& assignment, int local_rank,
               std::filesystem::path folder)
    : options_(options),
      rank_(assignment.first_rank + local_rank),
      local_rank_(local_rank),
      folder_(std::move(folder)),
      out_(make_stream(reactor, consoles.out, options, local_rank, Streams::kOut, folder_ / "stdout.log")),
      err_(make_stream(reactor, consoles.err, options, local_rank, Streams::kErr, folder_ / "stderr.log")) {
  const FileDescriptor input = open_input();
  auto environment = worker_environment(options, assignment, local_rank, error_file().string());
  environment.push_back(heartbeat_.variable());
  pid_ = start_process({.file = program.file,
                        .arguments = with_local_rank(program.arguments, local_rank),
                        .environment = std::move(environment),
                        .standard_in = input.get(),
                        .standard_out = out_ ? out_->worker_end() : STDOUT_FILENO,
                        .standard_error = err_->worker_end(),
                        .inherited = heartbeat_.descriptor()});
  if (out_) out_->started();
  err_->started();
  log::debug("launch: {}", name());
}

std::string Worker::name() const {
  return fmt::format("rank {} (local rank {}) on host {}, pid {}", rank_, local_rank_, host_name(), pid());
}

void Worker::signal(int number) const {
  // Until it is waited for, its pid, and so its group's number, cannot pass to another.
  if (running()) ::kill(-pid(), number);
}

WorkerFailure Worker::failure(int exit_code, std::string message, bool own_fault) {
  err_->drain();
  return {.host = host_name(),
          .rank = rank_,
          .local_rank = local_rank_,
          .pid = pid(),
          .own_fault = own_fault,
          .exit_code = exit_code,
          .message = std::move(message),
          .last_lines = err_->last_lines(),
          .error_file = error_file().string(),
          .time = ::time(nullptr)};
}

std::optional<WorkerFailure> Worker::ended(int wait_status) {
  if (out_) out_->drain();
  err_->drain();
  stopped_since_.reset();
  if (WIFSIGNALED(wait_status)) {
    const int number = WTERMSIG(wait_status);
    exit_code_ = 128 + number;
    const char* hint =
        number == SIGKILL ? ". If nobody sent it, the machine may be out of memory: see dmesg" : "";
    return failure(*exit_code_, fmt::format("was killed by {} ({}){}", signal_name(number), number, hint));
  }
  exit_code_ = WEXITSTATUS(wait_status);
  if (*exit_code_ == 0) return std::nullopt;
  return failure(*exit_code_, fmt::format("ended with exit code {}", *exit_code_));
}

void Worker::stopped(int by_signal) {
  if (!stopped_since_) stopped_since_ = Clock::now();
  const double limit = options_.hang_timeout.count();
  log::warning(
      "launch: {}, is stopped by {}{}", name(), signal_name(by_signal),
      limit > 0 ? fmt::format("; it counts as hung in {:g} s unless it goes on (kill -CONT {})", limit, pid())
                : "");
}

void Worker::continued() {
  stopped_since_.reset();
  heartbeat_.excuse(Clock::now());
  log::info("launch: {}, goes on", name());
}

void Worker::excuse(Clock::time_point now) {
  heartbeat_.excuse(now);
  if (stopped_since_) stopped_since_ = now;
}

std::optional<WorkerFailure> Worker::find_hang(Clock::time_point now) {
  if (!running() || options_.hang_timeout.count() == 0) return std::nullopt;
  const int code = error_info(ErrorKind::peer).exit_code;
  if (stopped_since_) {
    const Seconds since = now - *stopped_since_;
    if (since < options_.hang_timeout) return std::nullopt;
    return failure(code, fmt::format("hangs: it is stopped, for {:.1f} s now", since.count()), true);
  }
  const auto silence = heartbeat_.silence(now);
  if (silence.total - silence.allowed < options_.hang_timeout) return std::nullopt;
  return failure(
      code,
      fmt::format("hangs: no heartbeat for {:.1f} s. If its steps take that long, raise --hang-timeout",
                  Seconds(silence.total).count()),
      true);
}

}  // namespace diffract::launch
