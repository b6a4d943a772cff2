#include "tests/launch/running_launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace diffract::test {
namespace {

namespace fs = std::filesystem;

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  try {
    return {std::istreambuf_iterator<char>(in), {}};
  } catch (const std::ios_base::failure&) {  // of a process in /proc that has ended meanwhile
    return {};
  }
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

bool wait_until(const std::function<bool()>& condition, Milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(Milliseconds(5));
  }
  return true;
}

RunningLauncher::RunningLauncher(const std::vector<std::string>& arguments, const Setting& setting)
    : mark_("DIFFRACT_TEST_MARK=" + folder_.path().string()) {
  std::vector<std::string> command = setting.wrapper;
  command.emplace_back(DIFFRACT_LAUNCHER);
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = {mark_, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                                          "TMPDIR=" + folder_.path().string()};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"})
    if (const char* value = std::getenv(name)) environment.push_back(fmt::format("{}={}", name, value));
  for (const auto& [name, value] : setting.environment) environment.push_back(name + "=" + value);
  const auto argv = pointers(command), envp = pointers(environment);
  const std::string out = (folder_ / "out").string(), err = (folder_ / "err").string();
  const std::string in = setting.folder.empty() ? folder_.path().string() : setting.folder;
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {  // only calls that are safe between fork and exec
    ::setpgid(0, 0);
    for (const int number : {SIGINT, SIGHUP, SIGQUIT}) ::signal(number, SIG_DFL);  // a test in the background
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600), STDERR_FILENO);
    if (::chdir(in.c_str()) != 0) ::_exit(126);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
}

RunningLauncher::~RunningLauncher() {
  if (exit_code_ < 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (const auto& process : processes()) ::kill(process.pid, SIGKILL);
}

void RunningLauncher::signal(int number) const { ::kill(pid_, number); }

int RunningLauncher::wait(Milliseconds limit) {
  if (exit_code_ >= 0) return exit_code_;
  int status = 0;
  if (!wait_until([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, limit)) return -1;
  return exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string RunningLauncher::out() const { return read_all(folder_ / "out"); }
std::string RunningLauncher::err() const { return read_all(folder_ / "err"); }

bool RunningLauncher::wait_for_out(const std::string& text, Milliseconds limit) const {
  return wait_until([&] { return contains(out(), text); }, limit);
}

bool RunningLauncher::wait_for_err(const std::string& text, Milliseconds limit) const {
  return wait_until([&] { return contains(err(), text); }, limit);
}

std::vector<MarkedProcess> RunningLauncher::processes() const {
  std::vector<MarkedProcess> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [stop, failure] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failure != std::errc() || stop != name.data() + name.size()) continue;
    if (!contains('\0' + read_all(entry.path() / "environ"), '\0' + mark_ + '\0'))
      continue;  // a zombie has none
    std::string command = read_all(entry.path() / "cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    found.push_back({.pid = pid, .command = command});
  }
  return found;
}

std::vector<pid_t> RunningLauncher::processes_of(const std::string& start) const {
  std::vector<pid_t> pids;
  for (const auto& process : processes())
    if (process.command.starts_with(start)) pids.push_back(process.pid);
  return pids;
}

pid_t RunningLauncher::agent() const {
  const auto agents = processes_of("diffract launch (agent)");
  return agents.size() == 1 ? agents.front() : -1;
}

bool RunningLauncher::all_gone(Milliseconds limit) const {
  return wait_until([&] { return processes().empty(); }, limit);
}

std::vector<std::string> shell(std::vector<std::string> options, const std::string& script) {
  options.insert(options.end(), {"--", "/bin/sh", "-c", script});
  return options;
}

LaunchResult launch(const std::vector<std::string>& arguments, const RunningLauncher::Setting& setting,
                    Milliseconds limit) {
  RunningLauncher launcher(arguments, setting);
  const int code = launcher.wait(limit);
  return {.exit_code = code, .out = launcher.out(), .err = launcher.err()};
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace diffract::test
