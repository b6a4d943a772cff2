#include "diffract/cli/status_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "diffract/core/log.h"
#include "diffract/core/utf8.h"

namespace diffract::cli {
namespace {

constexpr const char* kTerminalVariable = "DIFFRACT_TERMINAL";  // the launcher's: how wide its terminal is
constexpr size_t kUsualColumns = 80;

// diffract launch reads its processes' stderr through a pipe and leaves them its stdout. What is printed
// there must not overtake the line that is drawn, so both go the same way.
int status_descriptor() {
  return ::isatty(STDERR_FILENO) == 0 && ::isatty(STDOUT_FILENO) == 1 ? STDOUT_FILENO : STDERR_FILENO;
}

std::mutex& drawing() {
  static std::mutex mutex;
  return mutex;
}
size_t drawn_columns = 0;  // of the line that stands there; 0: none does

// Characters of UTF-8; the bars have none that is two columns wide.
size_t columns_of(const std::string& line) {
  return static_cast<size_t>(std::count_if(
      line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void write_to_terminal(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(status_descriptor(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) return;  // a terminal that is gone
    done += static_cast<size_t>(std::max<ssize_t>(wrote, 0));
  }
}

}  // namespace

bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1 || std::getenv(kTerminalVariable) != nullptr;
}

size_t terminal_columns() {
  winsize size{};
  if (::ioctl(status_descriptor(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* told = std::getenv(kTerminalVariable);
  const long columns = told ? std::strtol(told, nullptr, 10) : 0;
  return columns > 1 ? static_cast<size_t>(columns) : kUsualColumns;
}

void draw_status(std::string line) {
  const std::lock_guard lock(drawing());
  if (drawn_columns == 0) log::set_before_line(end_status);
  // In the last column some terminals begin a new line.
  while (!line.empty() && columns_of(line) >= terminal_columns())
    line.resize(whole_characters(line, line.size() - 1));
  const size_t columns = columns_of(line);
  std::fflush(stdout);
  write_to_terminal("\r" + line + std::string(drawn_columns - std::min(drawn_columns, columns), ' '));
  drawn_columns = columns;
}

void end_status() {
  const std::lock_guard lock(drawing());
  if (drawn_columns > 0) write_to_terminal("\n");
  drawn_columns = 0;
}

}  // namespace diffract::cli
