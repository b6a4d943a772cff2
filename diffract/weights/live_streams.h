#pragma once
#include <functional>
#include <mutex>
#include <set>

namespace diffract::weights {

class WeightStream;

/// All streams of the process: flush() and the job's figures reach them here.
class LiveStreams {
 public:
  static LiveStreams& instance();
  void add(WeightStream* stream);
  void remove(WeightStream* stream);
  /// None ends while it is looked at.
  void each(const std::function<void(WeightStream&)>& look);

 private:
  std::mutex mutex_;
  std::set<WeightStream*> all_;
};

}  // namespace diffract::weights
