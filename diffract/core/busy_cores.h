#pragma once
#include <chrono>
#include <filesystem>
#include <optional>

namespace diffract {

/// How long the threads of this process have been ready to run, but had no core, all together: the kernel's
/// own account (/proc/PID/task/*/schedstat). 0 where it keeps none.
std::chrono::nanoseconds waited_for_cores(const std::filesystem::path& process = "/proc/self");

/// True when the cores were taken by others: each of `threads` waited for a core during a good part of the
/// time.
bool are_cores_taken(std::chrono::nanoseconds waited, std::chrono::nanoseconds wall, int threads);

/// Says so, once, where a process computes with several threads while other programs have the cores: the
/// threads then wait for each other, and a process for each core, or one thread, may be faster.
class BusyCores {
 public:
  /// After each denoising step, with the number of threads that compute; the first call begins the account.
  void look(int threads);

 private:
  using Clock = std::chrono::steady_clock;
  struct Begin {
    Clock::time_point time = Clock::now();
    std::chrono::nanoseconds waited = waited_for_cores();
  };
  std::optional<Begin> begin_;
  bool done_ = false;
};

}  // namespace diffract
