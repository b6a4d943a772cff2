#include "diffract/launch/descendants.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "diffract/core/file_descriptor.h"

namespace diffract::launch {
namespace {

// What /proc/PID/stat says: "PID (name) state parent ... start_time (the 22nd) ...". Dead ones are left out.
std::optional<Descendant> read_stat(int pid) {
  const FileDescriptor file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = file ? ::read(file.get(), text, sizeof text) : -1;
  if (size <= 0) return std::nullopt;
  const std::string_view stat(text, static_cast<size_t>(size));
  const size_t open = stat.find('('), close = stat.rfind(')');  // the name may hold anything
  if (open == stat.npos || close == stat.npos || close + 2 >= stat.size()) return std::nullopt;
  const char state = stat[close + 2];
  if (state == 'Z' || state == 'X') return std::nullopt;
  Descendant found{
      .pid = pid, .parent = 0, .start_time = 0, .name = std::string(stat.substr(open + 1, close - open - 1))};
  const char* at = text + close + 4;
  const char* end = text + size;
  at = std::from_chars(at, end, found.parent).ptr;
  constexpr int kFieldsBetween = 17;  // from the parent (4th) to the start time (22nd)
  for (int skipped = 0; skipped <= kFieldsBetween && at < end; ++at)
    if (*at == ' ') ++skipped;
  std::from_chars(at, end, found.start_time);
  return found;
}

bool is_child_of(int pid, int ancestor, const std::map<int, Descendant>& all) {
  for (int depth = 0; depth < 10'000; ++depth) {
    const auto found = all.find(pid);
    if (found == all.end()) return false;
    if (found->second.parent == ancestor) return true;
    pid = found->second.parent;
  }
  return false;
}

// By pid where there are no pidfds: a kernel before 5.3, or a sandbox that forbids the calls.
bool send(const FileDescriptor& handle, int pid, int signal) {
  if (handle && ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0) return true;
  return (!handle || errno != ESRCH) && ::kill(pid, signal) == 0;
}

void reap() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::vector<Descendant> descendants() {
  std::map<int, Descendant> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    int pid = 0;
    const auto [stop, failure] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failure != std::errc() || stop != name.data() + name.size()) continue;
    if (auto found = read_stat(pid)) all.emplace(pid, std::move(*found));
  }
  const int self = ::getpid();
  std::vector<Descendant> found;
  for (const auto& [pid, process] : all)
    if (is_child_of(pid, self, all)) found.push_back(process);
  return found;
}

std::vector<Descendant> signal_descendants(int signal) {
  std::vector<Descendant> reached;
  for (Descendant& process : descendants()) {
    const FileDescriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    if (!handle && errno == ESRCH) continue;
    // The pid may have passed on between the look at /proc and now; the handle cannot.
    const auto again = read_stat(process.pid);
    if (!again || again->start_time != process.start_time) continue;
    if (send(handle, process.pid, signal)) reached.push_back(std::move(process));
  }
  return reached;
}

bool kill_descendants(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const bool none = signal_descendants(SIGKILL).empty();
    reap();
    if (none && ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    ::poll(nullptr, 0, 2);  // the kernel needs a moment to end them
  }
}

}  // namespace diffract::launch
