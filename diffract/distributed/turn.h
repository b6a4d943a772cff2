#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace diffract::distributed {

/// Lets one of several threads go on at a time, in the order in which they ask: threads that mostly wait for
/// other processes then share a processor without computing beside each other.
class Turn {
 public:
  void take() {
    std::unique_lock lock(mutex_);
    const uint64_t mine = asked_++;
    changed_.wait(lock, [&] { return mine == served_ && !taken_; });
    taken_ = true;
  }
  /// True when nobody waits for it.
  bool pass() {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    ++served_;
    changed_.notify_all();
    return asked_ == served_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t asked_ = 0, served_ = 0;  // how often
  bool taken_ = false;
};

}  // namespace diffract::distributed
