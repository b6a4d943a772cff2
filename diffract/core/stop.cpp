#include "diffract/core/stop.h"

#include <atomic>

#include "diffract/core/error.h"

namespace diffract {
namespace {

std::atomic<bool> asked = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

}  // namespace

void ask_to_stop() noexcept { asked.store(true, std::memory_order_relaxed); }
bool asked_to_stop() noexcept { return asked.load(std::memory_order_relaxed); }

void stop_if_asked() {
  if (asked_to_stop()) throw Cancelled("stopped by a signal");
}

}  // namespace diffract
