#pragma once
#include <fmt/format.h>

#include <string>

namespace diffract::log {

enum class Level { debug, info, warning, error };

/// Lines below this level are dropped. Starts from DIFFRACT_LOG (debug, info, warning, error), else info.
void set_level(Level level);
bool enabled(Level level);

/// One line to stderr: `diffract: warning: ...`. Thread-safe: a line is never torn.
void write(Level level, const std::string& message);
/// As `write`, but a message is written once a process: for advice that would repeat with every image.
void write_once(Level level, const std::string& message);

/// Called before each line: for whoever draws on the terminal's last line and has to end that first. It must
/// not log.
void set_before_line(void (*before)());

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warning)) write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace diffract::log
