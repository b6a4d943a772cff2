#pragma once
#include <cstddef>
#include <map>
#include <string>

namespace diffract::jobs {

/// Finds how many images of a kind to compute at once, from the time that those of the job take: 1, then
/// twice as many as long as an image then takes less time.
class MeasuredBatchSize {
 public:
  static constexpr size_t kMost = 32;         // images
  static constexpr double kLeastGain = 0.03;  // of an image's time, for twice as many at once

  /// How many images to compute at once next, where `left` of them are left. Images of one `kind` take the
  /// same time.
  size_t next(const std::string& kind, size_t left) const;
  /// `size` images of a kind took so long, in seconds. The first time of a size does not count: libraries
  /// choose their kernels then.
  void took(const std::string& kind, size_t size, double seconds);
  /// So many are too many at once.
  void failed(const std::string& kind, size_t size);

 private:
  struct Kind {
    size_t best = 1, tried = 1;  // `tried` is measured next; both are the same once the search has ended
    double best_seconds = 0;     // an image, with `best` at once; 0: not measured
    int runs = 0;                // of `tried`
    bool is_found = false;
  };
  std::map<std::string, Kind> kinds_;
};

}  // namespace diffract::jobs
