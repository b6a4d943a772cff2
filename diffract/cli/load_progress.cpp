#include "diffract/cli/load_progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "diffract/cli/progress.h"
#include "diffract/cli/status_line.h"
#include "diffract/core/log.h"

namespace diffract::cli {
namespace {

constexpr auto kNotWorthShowing = std::chrono::milliseconds(500);
constexpr auto kBarInterval = std::chrono::milliseconds(50);
constexpr auto kLineInterval = std::chrono::seconds(10);
constexpr uint64_t kMegabyte = 1'000'000;

}  // namespace

void LoadProgress::operator()(const loading::LoadReport& report) {
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
  const std::string name = fmt::format("loading {}: ", component_);
  const ProgressState state{.done = static_cast<double>(megabytes),
                            .total = report.total_bytes / kMegabyte,
                            .begun = 0,
                            .unit = "MB",
                            .seconds = std::chrono::duration<double>(now - begin_).count()};
  if (!terminal) {
    log::info("{}{}", name, progress_text(state));
    return;
  }
  const size_t columns = terminal_columns() - 1;
  draw_status(name + progress_line(state, columns - std::min(columns, name.size())));
  if (is_last) end_status();
}

}  // namespace diffract::cli
