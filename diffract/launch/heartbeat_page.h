#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "diffract/core/file_descriptor.h"

namespace diffract::launch {

/// The page of memory that one worker beats into (core/heartbeat.h), seen from the launcher.
class HeartbeatPage {
 public:
  using Clock = std::chrono::steady_clock;

  HeartbeatPage();
  ~HeartbeatPage();
  HeartbeatPage(const HeartbeatPage&) = delete;
  HeartbeatPage& operator=(const HeartbeatPage&) = delete;

  int descriptor() const { return file_.get(); }
  /// "DIFFRACT_HEARTBEAT=..." for the worker's environment.
  std::string variable() const;
  struct Silence {
    Clock::duration total;    // since the last beat; zero while none is due: before the first, and in a rest
    Clock::duration allowed;  // of it, for the size of what the worker does
  };
  Silence silence(Clock::time_point now);
  /// Tells the worker that the launcher ends it.
  void say_stopped();
  /// Begins to count anew: when the launcher itself did not run for a while.
  void excuse(Clock::time_point now) { changed_ = now; }

 private:
  FileDescriptor file_;
  void* page_ = nullptr;
  uint64_t last_ = 0;
  Clock::time_point changed_;
};

}  // namespace diffract::launch
