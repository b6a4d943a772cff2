#pragma once
#include <chrono>
#include <cstddef>
#include <string>

namespace diffract::cli {

/// Progress of a job on stderr: a bar as tqdm draws it on a terminal, plain lines elsewhere (at most one
/// every few seconds, so that a log stays readable).
class Progress {
 public:
  /// `total` units of work, e.g. denoising steps of all pictures; `unit` names one.
  Progress(size_t total, std::string unit, bool terminal);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(size_t units = 1);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Clock::time_point now);

  size_t total_, done_ = 0;
  std::string unit_;
  bool terminal_;
  Clock::time_point start_, drawn_;
};

/// The line that Progress draws: "  40%|████      | 20/50 [00:12<00:18,  1.67step/s]".
std::string progress_line(size_t done, size_t total, const std::string& unit, double seconds);

/// True when stderr is a terminal.
bool stderr_is_terminal();

}  // namespace diffract::cli
