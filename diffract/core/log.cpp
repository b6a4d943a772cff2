#include "diffract/core/log.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace diffract::log {
namespace {

Level level_from_environment() {
  const char* value = std::getenv("DIFFRACT_LOG");
  const std::string name = value ? value : "";
  if (name == "debug") return Level::debug;
  if (name == "warning") return Level::warning;
  if (name == "error") return Level::error;
  return Level::info;
}

std::atomic<Level>& threshold() {
  static std::atomic<Level> level{level_from_environment()};
  return level;
}

std::atomic<void (*)()> before_line = nullptr;

}  // namespace

void set_before_line(void (*before)()) { before_line = before; }

void set_level(Level level) { threshold() = level; }
bool enabled(Level level) { return level >= threshold().load(); }

void write(Level level, const std::string& message) {
  if (!enabled(level)) return;
  static constexpr const char* kNames[] = {"debug: ", "", "warning: ", "error: "};
  if (const auto before = before_line.load()) before();
  const std::string line = fmt::format("diffract: {}{}\n", kNames[static_cast<int>(level)], message);
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call: stdio locks the stream around it
}

void write_once(Level level, const std::string& message) {
  static std::mutex mutex;
  static std::set<std::string> written;
  {
    const std::lock_guard lock(mutex);
    if (!written.insert(message).second) return;
  }
  write(level, message);
}

}  // namespace diffract::log
