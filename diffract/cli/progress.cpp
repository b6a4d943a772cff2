#include "diffract/cli/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "diffract/cli/status_line.h"
#include "diffract/core/log.h"

namespace diffract::cli {
namespace {

constexpr auto kBarInterval = std::chrono::milliseconds(50);
constexpr auto kLineInterval = std::chrono::seconds(10);
constexpr auto kNotWorthALine = std::chrono::seconds(1);
constexpr size_t kBarWidth = 24, kNarrowestBar = 4;

std::string clock_text(double seconds) {
  const auto whole = static_cast<long>(seconds);
  return whole < 3600 ? fmt::format("{:02}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

// Units a second, or seconds a unit.
std::string speed_text(double rate, const std::string& unit) {
  if (rate <= 0) return "?";
  return rate >= 1 ? fmt::format("{:.2f}{}/s", rate, unit) : fmt::format("{:.2f}s/{}", 1 / rate, unit);
}

double rate_of(const ProgressState& s) {
  return s.seconds > 0 ? std::max(0.0, s.done - static_cast<double>(s.begun)) / s.seconds : 0;
}

std::string left_text(const ProgressState& s) {
  const double rate = rate_of(s);
  return rate > 0 ? clock_text((static_cast<double>(s.total) - s.done) / rate) : "?";
}

}  // namespace

std::string progress_line(const ProgressState& s, size_t columns) {
  const double share = s.total == 0 ? 1.0 : s.done / static_cast<double>(s.total);
  const std::string before = fmt::format("{:3.0f}%", share * 100);
  const std::string behind = fmt::format(" {}/{} [{}<{}, {}]", static_cast<size_t>(s.done), s.total,
                                         clock_text(s.seconds), left_text(s), speed_text(rate_of(s), s.unit));
  constexpr size_t kEnds = 2;  // of the bar
  if (columns < before.size() + behind.size() + kEnds + kNarrowestBar)
    return (before + behind).substr(0, columns);
  const size_t width = std::min(kBarWidth, columns - before.size() - behind.size() - kEnds);
  const auto full = static_cast<size_t>(share * static_cast<double>(width));
  std::string bar;
  for (size_t i = 0; i < width; ++i) bar += i < full ? "█" : " ";
  return before + "|" + bar + "|" + behind;
}

std::string progress_text(const ProgressState& s) {
  return fmt::format("{}/{} {}s, {}, {}, {} left", static_cast<size_t>(s.done), s.total, s.unit,
                     speed_text(rate_of(s), s.unit), clock_text(s.seconds), left_text(s));
}

Progress::Progress(size_t total, std::string unit, bool terminal, size_t begun)
    : total_(total),
      begun_(begun),
      unit_(std::move(unit)),
      terminal_(terminal),
      start_(Clock::now()),
      drawn_(start_) {}

Progress::~Progress() {
  if (terminal_) end_status();
}

void Progress::show(double done) {
  if (done == done_) return;
  done_ = done;
  const auto now = Clock::now();
  const bool last = done_ >= static_cast<double>(total_);
  const bool is_due =
      now - drawn_ >= (terminal_ ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval));
  const bool is_worth_a_line = terminal_ || is_shown_ || now - start_ >= kNotWorthALine;
  if (is_due || (last && is_worth_a_line)) draw(now);
}

void Progress::draw(Clock::time_point now) {
  drawn_ = now;
  is_shown_ = true;
  const ProgressState state{.done = done_,
                            .total = total_,
                            .begun = begun_,
                            .unit = unit_,
                            .seconds = std::chrono::duration<double>(now - start_).count()};
  if (terminal_)
    draw_status(progress_line(state, terminal_columns() - 1));
  else
    log::info("{}", progress_text(state));
}

}  // namespace diffract::cli
