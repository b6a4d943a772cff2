#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "diffract/weights/offload_folder.h"
#include "diffract/weights/part_reader.h"
#include "diffract/weights/ring_place.h"

namespace diffract::weights {

/// What reading threads have done.
struct StreamStatistics {
  uint64_t bytes_read = 0;
  double seconds_reading = 0;
  double seconds_waiting = 0;  // of those who entered a part before it was there
};

/// Brings the weights of modules that are kept in CPU memory or on disk to the device that computes, part by
/// part (a part is what one module needs), ahead of time: while a part computes, a thread reads those that
/// come next into the memory that is left, and on an accelerator copies run beside the computing. So a step
/// takes as long as the slower of computing and reading, not their sum. Which part comes next is learned from
/// what came next the last time; that a walk may begin anew behind each step, with its rare parts, is not.
class WeightStream {
 public:
  struct Options {
    at::Device device = at::kCPU;  // that computes
    std::optional<uint64_t> budget =
        {};  // bytes of the device for it and add_resident(); unset: some of what is free
    /// So many of the largest parts are on the device at once, where nothing stays; more only takes memory.
    uint64_t parts_in_transit = 3;
    /// True: parts stay on the device where the budget holds more than the two largest, spread evenly over
    /// the model, so that less is read again in each step.
    bool keeps_parts = false;
    /// Parts on disk that are converted are written here, once, as they are used; empty: converted each time.
    std::string offload_folder = {};
  };
  explicit WeightStream(const Options& options);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  // While a model is built: in the order in which it will compute, as far as that is known.
  /// Gives the part's place. Reads it into pinned memory now where its source is the host.
  size_t add(Part part);
  /// So much of the model stays on the device: the budget is for both.
  void add_resident(uint64_t bytes) { resident_bytes_ += bytes; }

  /// A part that is in use: its tensors are on the device until the lease ends.
  class Lease {
   public:
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    const LoadedTensors& tensors() const;

   private:
    friend class WeightStream;
    struct Held;
    Lease(WeightStream* stream, std::shared_ptr<Held> held);
    WeightStream* stream_;
    std::shared_ptr<Held> held_;
  };
  /// Waits until the part is there. Throws what its reading threw: IoError, an allocation's error.
  Lease enter(size_t part);
  /// Gives the memory on the device back, but for what is in use; the next enter() takes it again.
  void release();

  const Part& part(size_t place) const { return parts_[place]; }
  size_t size() const { return parts_.size(); }
  at::Device device() const { return options_.device; }
  StreamStatistics statistics() const;

 private:
  using Held = Lease::Held;
  using HeldPtr = std::shared_ptr<Held>;
  at::Tensor new_memory(uint64_t bytes) const;
  void prepare();
  size_t first_guess(size_t part) const;
  void run();  // of the thread
  void read_parts();
  struct ToRead {  // the tensors first to last of a part
    HeldPtr held;
    size_t first, last;
  };
  std::optional<ToRead> next_to_read(std::unique_lock<std::mutex>& lock);
  std::optional<ToRead> next_tensors(const HeldPtr& held);
  HeldPtr find(size_t part) const;
  void begin(HeldPtr held);
  bool clear(const Held& owner, const Stretch& pages);
  PartMemory memory_of(const Held& held, size_t first, size_t last) const;
  void load(const ToRead& next);
  void leave(const HeldPtr& held);
  std::optional<size_t> predicted() const;

  Options options_;
  tensor::DeviceBackend* backend_;  // null on the CPU
  std::vector<Part> parts_;
  uint64_t resident_bytes_ = 0, ring_bytes_ = 0;
  at::Tensor ring_;                        // uint8: parts come and go, one behind the other
  std::vector<HeldPtr> kept_;              // of each part that stays, or null
  std::unique_ptr<OffloadFolder> folder_;  // null without one
  std::unique_ptr<PartReader> reader_;

  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<HeldPtr> held_;    // in the ring, the oldest first
  HeldPtr reading_;             // not at its end yet
  std::deque<HeldPtr> wanted_;  // waited for, not yet begun
  std::vector<size_t> next_;    // the part that came after each part
  std::optional<size_t> last_entered_;
  bool stop_ = false, is_loading_ = false;
  std::exception_ptr broken_;  // what ended the thread; whoever enters is told
  StreamStatistics statistics_;
  std::thread thread_;
};

/// Release() of every stream of the process: what one stage's models hold is the next one's.
void release_streams();
/// The sums of all streams that live.
StreamStatistics stream_statistics();

}  // namespace diffract::weights
