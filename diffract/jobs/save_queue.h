#pragma once
#include <exception>
#include <functional>
#include <future>

namespace diffract::jobs {

/// Saves what was computed beside the computing of what comes next: one batch at a time, in the order in
/// which they come. Calls come from one thread, or from threads that take turns.
class SaveQueue {
 public:
  /// What is left for the caller's thread when a batch is saved.
  using Then = std::function<void()>;
  using Save = std::function<Then()>;

  SaveQueue() = default;
  /// Waits for what is being saved, so that what was computed is kept also where the computing ends.
  ~SaveQueue() = default;
  SaveQueue(const SaveQueue&) = delete;
  SaveQueue& operator=(const SaveQueue&) = delete;

  /// Waits until the last is saved, begins with `save`, then does what is left of the last: so no more than
  /// two batches are kept, or lost with the process. Throws as look(); what was computed is saved all the
  /// same.
  void put(const Save& save);
  /// When the last is saved by now, what is left of it. Throws what saving threw, from then on always.
  void look();
  /// Waits until the last is saved, then look().
  void settle();

 private:
  void keep_failure(const std::function<void()>& work);

  std::exception_ptr failure_;
  std::future<Then> saving_;  // its end waits for the thread
};

}  // namespace diffract::jobs
