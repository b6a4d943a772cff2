#pragma once
#include <chrono>
#include <cstddef>
#include <string>

namespace diffract::cli {

/// Progress of a job on stderr: a bar as tqdm draws it on a terminal, plain lines elsewhere (at most one
/// every few seconds, so that a log stays readable, and none for work that is done at once).
class Progress {
 public:
  /// `total` units of work, e.g. pictures, of which the first `begun` were done before; `unit` names one.
  Progress(size_t total, std::string unit, bool terminal, size_t begun = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows that so many units are done; parts of a unit move the bar but are not counted.
  void show(double done);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Clock::time_point now);

  size_t total_, begun_;
  double done_ = -1;
  std::string unit_;
  bool terminal_, is_shown_ = false;
  Clock::time_point start_, drawn_;
};

/// What Progress draws.
struct ProgressState {
  double done;
  size_t total, begun;
  std::string unit;
  double seconds;
};
/// The bar: "  40%|████      | 20/50 [00:12<00:18,  1.67step/s]", in at most so many columns: the bar grows
/// short first, then what stands behind it is cut.
std::string progress_line(const ProgressState& state, size_t columns);
/// The same without a bar: "20/50 steps, 1.67step/s, 00:12, 00:18 left".
std::string progress_text(const ProgressState& state);

}  // namespace diffract::cli
