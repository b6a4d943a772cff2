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

#include "diffract/weights/part_reader.h"

namespace diffract::weights {

/// Brings the weights of modules that are kept in CPU memory or on disk to the device that computes, part by
/// part (a part is what one module needs), ahead of time: while a part computes, a thread reads those that
/// come next into the memory that is left, and on an accelerator copies run beside the computing. So a step
/// takes as long as the slower of computing and reading, not their sum. Which part comes next is learned from
/// what came next the last time.
class WeightStream {
 public:
  struct Options {
    at::Device device = at::kCPU;         // that computes
    std::optional<uint64_t> budget = {};  // bytes of the device to use; unset: some of what is free
    /// True: parts stay on the device where the budget holds more than the two largest, spread evenly over
    /// the model, so that less is read again in each step.
    bool keeps_parts = false;
  };
  struct Statistics {
    uint64_t bytes_read = 0;     // by the reading thread
    double seconds_reading = 0;  // of that thread
    double seconds_waiting = 0;  // of those who entered a part before it was there
  };

  explicit WeightStream(const Options& options);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  // While a model is built: in the order in which it will compute, as far as that is known.
  /// Gives the part's place. Reads it into pinned memory now where its source is the host.
  size_t add(Part part);
  /// The model is complete: takes the memory. Throws MemoryError when the device has too little.
  void finish();

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
  /// Waits until the part is there. Throws what its reading threw: IoError, MemoryError.
  Lease enter(size_t part);

  const Part& part(size_t place) const { return parts_[place]; }
  size_t size() const { return parts_.size(); }
  at::Device device() const { return options_.device; }
  /// Bytes of the device that the stream holds.
  uint64_t memory_bytes() const { return ring_bytes_ + kept_bytes_; }
  /// Bytes of pinned CPU memory.
  uint64_t host_bytes() const { return host_bytes_; }
  Statistics statistics() const;

 private:
  using Held = Lease::Held;
  using HeldPtr = std::shared_ptr<Held>;
  void plan_memory();
  void run();  // of the thread
  HeldPtr next_to_read(std::unique_lock<std::mutex>& lock);
  HeldPtr find(size_t part) const;
  bool make_room(Held& held);
  void load(Held& held);
  void leave(const HeldPtr& held);
  std::optional<size_t> predicted() const;

  Options options_;
  tensor::DeviceBackend* backend_;  // null on the CPU
  std::vector<Part> parts_;
  uint64_t ring_bytes_ = 0, kept_bytes_ = 0, host_bytes_ = 0;
  at::Tensor ring_;            // uint8: parts come and go, one behind the other
  std::vector<HeldPtr> kept_;  // of each part that stays, or null
  std::unique_ptr<PartReader> reader_;

  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<HeldPtr> held_;    // in the ring, the oldest first
  std::deque<HeldPtr> wanted_;  // waited for, not yet begun
  std::vector<size_t> next_;    // the part that came after each part
  std::optional<size_t> last_entered_;
  bool stop_ = false;
  Statistics statistics_;
  std::thread thread_;
};

}  // namespace diffract::weights
