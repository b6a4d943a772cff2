#pragma once
#include <algorithm>
#include <chrono>

namespace diffract::net {

/// A point in time that all steps of one wait share.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds from_now)
      : end_(std::chrono::steady_clock::now() + std::min(from_now, kLongest)) {}

  bool passed() const { return std::chrono::steady_clock::now() >= end_; }
  /// What is left, at least 1 ms: zero means "for ever" to c10d and to poll's neighbours.
  std::chrono::milliseconds left() const {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now());
    return std::max(left, std::chrono::milliseconds(1));
  }

 private:
  // poll counts milliseconds in 31 bits.
  static constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 20);
  std::chrono::steady_clock::time_point end_;
};

}  // namespace diffract::net
