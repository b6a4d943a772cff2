#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>

namespace diffract::launch {

/// One thread's loop over descriptors and timers. All of the launcher runs in it, so nothing in the launcher
/// needs a lock, and the thread that starts the workers lives as long as they do.
class Reactor {
 public:
  using Clock = std::chrono::steady_clock;

  /// Calls `ready` with poll's events while `descriptor` has one of `events`. Replaces an earlier watch.
  void watch(int descriptor, short events, std::function<void(short)> ready);
  void forget(int descriptor) { watches_.erase(descriptor); }

  /// Calls `due` once, after a time.
  void after(Clock::duration delay, std::function<void()> due);
  /// Calls `due` again and again, each time the interval has passed.
  void every(Clock::duration interval, std::function<void()> due);

  /// Waits for what comes next, at most `limit`, and handles it.
  void run_once(Clock::duration limit);
  /// Handles what comes until stop() is called.
  void run();
  void stop() { stopped_ = true; }

 private:
  struct Watch {
    short events;
    std::function<void(short)> ready;
    uint64_t number;  // tells a new watch from an old one on the same descriptor
  };
  Clock::duration until_next_timer(Clock::duration limit) const;
  void run_timers();

  std::map<int, Watch> watches_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
  uint64_t next_number_ = 0;
  bool stopped_ = false;
};

}  // namespace diffract::launch
