#pragma once
#include <chrono>

namespace diffract {

/// When a wait for others is to be spoken of: after 5 s, and every 30 s from then on.
class WaitNotice {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kFirst{5}, kEvery{30};

  explicit WaitNotice(Clock::time_point begin = Clock::now()) : next_(begin + kFirst) {}
  /// True when a line is due; then the next one is due 30 s later.
  bool due(Clock::time_point now = Clock::now()) {
    if (now < next_) return false;
    next_ = now + kEvery;
    return true;
  }

 private:
  Clock::time_point next_;
};

}  // namespace diffract
