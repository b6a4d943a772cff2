#include "diffract/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

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

}  // namespace

bool stderr_is_terminal() {
  // diffract launch reads its processes' stderr through a pipe, and says whether it has a terminal itself.
  return ::isatty(STDERR_FILENO) == 1 || std::getenv("DIFFRACT_TERMINAL") != nullptr;
}

std::string progress_line(size_t done, size_t total, const std::string& unit, double seconds) {
  const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  std::string bar;
  const auto full = static_cast<size_t>(share * kBarWidth);
  for (size_t i = 0; i < kBarWidth; ++i) bar += i < full ? "█" : " ";
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const std::string left = rate > 0 ? clock_text(static_cast<double>(total - done) / rate) : "?";
  const std::string speed = rate <= 0   ? "?"
                            : rate >= 1 ? fmt::format("{:.2f}{}/s", rate, unit)
                                        : fmt::format("{:.2f}s/{}", 1 / rate, unit);
  return fmt::format("{:3.0f}%|{}| {}/{} [{}<{}, {}]", share * 100, bar, done, total, clock_text(seconds),
                     left, speed);
}

Progress::Progress(size_t total, std::string unit, bool terminal)
    : total_(total), unit_(std::move(unit)), terminal_(terminal), start_(Clock::now()), drawn_(start_) {}

Progress::~Progress() {
  if (terminal_ && done_ > 0) std::fputc('\n', stderr);
}

void Progress::advance(size_t units) {
  done_ += units;
  const auto now = Clock::now();
  const bool last = done_ >= total_;
  if (last || now - drawn_ >= (terminal_ ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval)))
    draw(now);
}

void Progress::draw(Clock::time_point now) {
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (terminal_)
    fmt::print(stderr, "\r{}", progress_line(done_, total_, unit_, seconds));
  else
    log::info("{}/{} {}s, {}", done_, total_, unit_, clock_text(seconds));
}

}  // namespace diffract::cli
