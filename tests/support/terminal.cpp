#include "tests/support/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>

namespace diffract::test {

TerminalEnd run_on_terminal(const std::vector<std::string>& command, int columns, const std::string& folder) {
  const int near = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (near < 0 || ::grantpt(near) != 0 || ::unlockpt(near) != 0)
    throw std::runtime_error("cannot make a terminal");
  const std::string far = ::ptsname(near);
  const winsize size{
      .ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(near, TIOCSWINSZ, &size);
  std::vector<char*> arguments;
  for (const auto& text : command) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {  // only system calls between fork and exec
    ::setsid();
    const int terminal = ::open(far.c_str(), O_RDWR);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(terminal, stream);
    if (terminal > STDERR_FILENO) ::close(terminal);
    if (::chdir(folder.c_str()) != 0) ::_exit(126);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  TerminalEnd end{.exit_code = -1, .shown = {}};
  char buffer[4096];
  for (;;) {  // until nobody has the far end open any more, which is EIO
    const ssize_t got = ::read(near, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    end.shown.append(buffer, static_cast<size_t>(got));
  }
  ::close(near);
  int status = 0;
  ::waitpid(pid, &status, 0);
  end.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return end;
}

}  // namespace diffract::test
