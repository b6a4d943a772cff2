#include "diffract/distributed/device_work.h"

#include <fmt/format.h>

#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/core/log.h"
#include "diffract/net/deadline.h"

namespace diffract::distributed {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::chrono::microseconds kSpin(500);  // most work is done sooner than a sleep would end
constexpr std::chrono::microseconds kNap(100);
constexpr milliseconds kLookAround(250);  // between looks at the peers

// Its kernels end, so that the GPU is free for others.
void give_up(::c10d::Backend& engine) {
  try {
    engine.abort();
  } catch (const std::exception& error) {
    log::debug("giving up a process group: {}", error.what());
  }
}

}  // namespace

void wait_for_device(::c10d::Backend& engine, ::c10d::Work& work, milliseconds timeout,
                     const std::function<bool()>& somebody_has_ended) {
  const net::Deadline deadline(timeout);
  const auto begin = Clock::now();
  auto next_look = begin + kLookAround;
  bool had_ended = false;
  while (!work.isCompleted()) {
    const auto now = Clock::now();
    if (deadline.passed()) {
      give_up(engine);
      throw std::runtime_error(
          fmt::format("not done after {:.1f} s", std::chrono::duration<double>(timeout).count()));
    }
    if (now >= next_look) {
      next_look = now + kLookAround;
      // At the second look: what a rank sent before it ended in peace has come by then.
      const bool has_ended = somebody_has_ended();
      if (has_ended && had_ended) {
        give_up(engine);
        throw std::runtime_error("a rank has ended");
      }
      had_ended = has_ended;
    }
    if (now - begin < kSpin)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(kNap);
  }
  try {
    work.wait();
  } catch (...) {
    give_up(engine);
    throw;
  }
}

}  // namespace diffract::distributed
