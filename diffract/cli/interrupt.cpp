#include "diffract/cli/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <string_view>
#include <utility>

#include "diffract/core/stop.h"

namespace diffract::cli {
namespace {

// A signal handler may do little more than write(). A progress bar may stand on the line.
void say_so(bool on_terminal) {
  constexpr std::string_view kLine = "\ndiffract: stopping soon; once more ends at once\n";
  const std::string_view line = on_terminal ? kLine : kLine.substr(1);
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

bool is_on_terminal = false;

}  // namespace

void install_interrupt_handler(bool says_so) {
  static bool installed = false;
  if (std::exchange(installed, true)) return;
  is_on_terminal = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  action.sa_handler = [](int) { ask_to_stop(); };
  if (says_so)
    action.sa_handler = [](int) {
      if (!asked_to_stop()) say_so(is_on_terminal);
      ask_to_stop();
    };
  action.sa_flags = SA_RESETHAND;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace diffract::cli
