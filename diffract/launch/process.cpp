#include "diffract/launch/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"

namespace diffract::launch {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal)
    ::signal(signal, SIG_DFL);  // SIGPIPE is ignored here, not there
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child; only calls that are safe between fork and exec. Returns on failure, with errno.
void become(const ProcessSpec& spec, char* const* arguments, char* const* environment, pid_t parent) {
  ::setsid();  // a group of its own, and no terminal that could stop it
  // Comes when the parent's *thread* ends; the launcher has one, which lives as long as it does.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);  // it ended before the line above
  reset_signals();
  const int streams[] = {spec.standard_in, spec.standard_out, spec.standard_error};
  for (int target = 0; target < 3; ++target)
    if (streams[target] != target && ::dup2(streams[target], target) < 0) return;
  if (spec.inherited >= 0) ::fcntl(spec.inherited, F_SETFD, 0);
  ::execve(spec.file.c_str(), arguments, environment);
}

}  // namespace

pid_t start_process(const ProcessSpec& spec) {
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) throw IoError("cannot make a pipe: {}", std::strerror(errno));
  FileDescriptor report_in(report[0]), report_out(report[1]);
  const auto arguments = pointers(spec.arguments), environment = pointers(spec.environment);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0)
    throw IoError("cannot start {}: {}. Is the limit of processes reached?", spec.file, std::strerror(errno));
  if (pid == 0) {
    become(spec, arguments.data(), environment.data(), parent);
    const int reason = errno;
    [[maybe_unused]] const auto written = ::write(report_out.get(), &reason, sizeof reason);
    ::_exit(127);
  }
  report_out.reset();
  int reason = 0;
  if (::read(report_in.get(), &reason, sizeof reason) != sizeof reason) return pid;  // exec closed it
  ::waitpid(pid, nullptr, 0);
  throw UsageError("cannot execute {}: {}{}", spec.file, std::strerror(reason),
                   reason == ENOENT    ? " (the program after its \"#!\" is missing?)"
                   : reason == ENOEXEC ? " (a script needs a first line \"#!/bin/sh\" or its like)"
                                       : "");
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace diffract::launch
