#pragma once
#include <chrono>
#include <functional>

namespace c10d {
class Backend;
class Work;
}  // namespace c10d

namespace diffract::distributed {

/// Returns when `work` of an engine whose sums run on a device is done; what later work of this thread reads
/// is there. A device waits for its peers for ever, also for one that has died: so the host looks whether
/// `somebody_has_ended`. Throws what went wrong, with the engine given up, and std::runtime_error after the
/// timeout.
void wait_for_device(::c10d::Backend& engine, ::c10d::Work& work, std::chrono::milliseconds timeout,
                     const std::function<bool()>& somebody_has_ended);

}  // namespace diffract::distributed
