#include "diffract/cli/load_progress.h"

#include <fmt/format.h>

#include <cstdio>

#include "diffract/cli/progress.h"
#include "diffract/core/log.h"

namespace diffract::cli {
namespace {

constexpr auto kNotWorthShowing = std::chrono::milliseconds(500);
constexpr auto kBarInterval = std::chrono::milliseconds(50);
constexpr auto kLineInterval = std::chrono::seconds(10);
constexpr uint64_t kMegabyte = 1'000'000;

}  // namespace

void LoadProgress::operator()(const pipelines::LoadReport& report) {
  const auto now = Clock::now();
  if (report.component != component_) {
    component_ = report.component;
    begin_ = shown_ = now;
    is_shown_ = false;
  }
  const bool terminal = stderr_is_terminal();
  const bool is_last = report.bytes == report.total_bytes;
  if (now - begin_ < kNotWorthShowing) return;
  if (!is_last && now - shown_ < (terminal ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval)))
    return;
  if (is_last && !terminal && !is_shown_) return;
  shown_ = now;
  is_shown_ = true;
  const uint64_t megabytes = report.bytes / kMegabyte;
  const std::string line =
      fmt::format("loading {}: {}", component_,
                  progress_line({.done = static_cast<double>(megabytes),
                                 .total = report.total_bytes / kMegabyte,
                                 .begun = 0,
                                 .unit = "MB",
                                 .seconds = std::chrono::duration<double>(now - begin_).count()}));
  if (terminal)
    fmt::print(stderr, "\r{}{}", line, is_last ? "\n" : "");
  else
    log::info("{}", line);
}

}  // namespace diffract::cli
