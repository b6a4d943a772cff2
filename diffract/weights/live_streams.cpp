#include "diffract/weights/live_streams.h"

#include "diffract/weights/weight_stream.h"

namespace diffract::weights {

LiveStreams& LiveStreams::instance() {
  static auto* only = new LiveStreams;  // streams may end behind static objects
  return *only;
}

void LiveStreams::add(WeightStream* stream) {
  const std::lock_guard lock(mutex_);
  all_.insert(stream);
}

void LiveStreams::remove(WeightStream* stream) {
  const std::lock_guard lock(mutex_);
  all_.erase(stream);
}

void LiveStreams::each(const std::function<void(WeightStream&)>& look) {
  const std::lock_guard lock(mutex_);
  for (WeightStream* stream : all_) look(*stream);
}

void release_streams() {
  LiveStreams::instance().each([](WeightStream& stream) { stream.release(); });
}

StreamStatistics stream_statistics() {
  StreamStatistics sum;
  LiveStreams::instance().each([&](const WeightStream& stream) {
    const StreamStatistics one = stream.statistics();
    sum.bytes_read += one.bytes_read;
    sum.seconds_reading += one.seconds_reading;
    sum.seconds_waiting += one.seconds_waiting;
  });
  return sum;
}

}  // namespace diffract::weights
