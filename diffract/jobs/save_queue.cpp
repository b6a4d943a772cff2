#include "diffract/jobs/save_queue.h"

#include <chrono>
#include <system_error>

namespace diffract::jobs {

// Who hears of a failure first may be somebody who tries something else.
void SaveQueue::keep_failure(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    failure_ = std::current_exception();
    throw;
  }
}

// What was computed is saved also where the job is to end: the board is told of the batch before it, which
// may throw Cancelled, when this one's saving has begun.
void SaveQueue::put(const Save& save) {
  if (failure_) std::rethrow_exception(failure_);
  Then before;
  if (saving_.valid()) keep_failure([&] { before = saving_.get(); });
  try {
    saving_ = std::async(std::launch::async, save);
  } catch (const std::system_error&) {  // the system gives no thread
    if (before) keep_failure(before);
    keep_failure([&] { save()(); });
    return;
  }
  if (before) keep_failure(before);
}

void SaveQueue::look() {
  if (failure_) std::rethrow_exception(failure_);
  if (saving_.valid() && saving_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
    keep_failure([&] { saving_.get()(); });
}

void SaveQueue::settle() {
  if (saving_.valid()) saving_.wait();
  look();
}

}  // namespace diffract::jobs
