#include "diffract/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "diffract/core/log.h"

namespace diffract::cli {
namespace {

constexpr auto kBarInterval = std::chrono::milliseconds(50);
constexpr auto kLineInterval = std::chrono::seconds(10);
constexpr size_t kBarWidth = 24;

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

bool stderr_is_terminal() {
  // diffract launch reads its processes' stderr through a pipe, and says whether it has a terminal itself.
  return ::isatty(STDERR_FILENO) == 1 || std::getenv("DIFFRACT_TERMINAL") != nullptr;
}

std::string progress_line(const ProgressState& s) {
  const double share = s.total == 0 ? 1.0 : s.done / static_cast<double>(s.total);
  std::string bar;
  const auto full = static_cast<size_t>(share * kBarWidth);
  for (size_t i = 0; i < kBarWidth; ++i) bar += i < full ? "█" : " ";
  return fmt::format("{:3.0f}%|{}| {}/{} [{}<{}, {}]", share * 100, bar, static_cast<size_t>(s.done), s.total,
                     clock_text(s.seconds), left_text(s), speed_text(rate_of(s), s.unit));
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
  if (terminal_ && done_ > 0) std::fputc('\n', stderr);
}

void Progress::show(double done) {
  if (done == done_) return;
  done_ = done;
  const auto now = Clock::now();
  const bool last = done_ >= static_cast<double>(total_);
  if (last || now - drawn_ >= (terminal_ ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval)))
    draw(now);
}

void Progress::draw(Clock::time_point now) {
  drawn_ = now;
  const ProgressState state{.done = done_,
                            .total = total_,
                            .begun = begun_,
                            .unit = unit_,
                            .seconds = std::chrono::duration<double>(now - start_).count()};
  if (terminal_)
    fmt::print(stderr, "\r{}", progress_line(state));
  else
    log::info("{}", progress_text(state));
}

}  // namespace diffract::cli
