#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

namespace diffract::weights {

/// Reads the mapped weights of a model that is larger than the memory it may take, part by part (a part is
/// what one block needs): while a part is used, a thread reads the next one, and those behind are given back.
/// As many parts as fit stay in memory, spread evenly over the model, so that less is read again in each
/// step. Only speed and memory depend on it: a part that is not there in time is read when it is touched.
class WeightStream {
 public:
  struct Statistics {
    uint64_t bytes_read = 0;     // by the reading thread
    double seconds_reading = 0;  // of that thread
    double seconds_waiting = 0;  // of those who entered a part before it was there
  };

  /// Parts of `resident_bytes` in all stay in memory.
  explicit WeightStream(uint64_t resident_bytes) : resident_bytes_(resident_bytes) {}
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  /// While a model is built: what add() is told from now on belongs to a new part, whose place is returned,
  /// until end_part(). Outside of parts it stays in memory.
  size_t begin_part();
  void end_part() { building_ = false; }
  void add(std::span<const std::byte> mapped);

  /// The caller uses the part now, and those behind it next; after the last comes the first again.
  void enter(size_t place);

  Statistics statistics() const;

 private:
  using Ranges = std::vector<std::span<const std::byte>>;
  struct Part {
    Ranges ranges;
    uint64_t bytes = 0;
    bool stays = false;
    bool is_read = false;
  };
  void plan();
  std::optional<size_t> next_streamed(size_t place) const;
  void read_on(std::optional<size_t> place);  // starts reading it
  void run();                                 // of the thread

  uint64_t resident_bytes_;
  bool building_ = false;
  std::vector<Part> parts_;

  mutable std::mutex mutex_;  // of all below, once the model is built
  std::condition_variable changed_;
  bool planned_ = false;
  std::optional<size_t> current_;  // the streamed part in use
  std::optional<size_t> wanted_;
  bool stop_ = false;
  Statistics statistics_;
  std::thread reader_;
};

}  // namespace diffract::weights
