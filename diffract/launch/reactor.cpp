#include "diffract/launch/reactor.h"

#include <poll.h>

#include <algorithm>
#include <vector>

namespace diffract::launch {

void Reactor::watch(int descriptor, short events, std::function<void(short)> ready) {
  watches_[descriptor] = {.events = events, .ready = std::move(ready), .number = next_number_++};
}

void Reactor::after(Clock::duration delay, std::function<void()> due) {
  timers_.emplace(Clock::now() + delay, std::move(due));
}

void Reactor::every(Clock::duration interval, std::function<void()> due) {
  after(interval, [this, interval, due = std::move(due)] {
    due();
    every(interval, due);
  });
}

Reactor::Clock::duration Reactor::until_next_timer(Clock::duration limit) const {
  if (timers_.empty()) return limit;
  return std::clamp(timers_.begin()->first - Clock::now(), Clock::duration::zero(), limit);
}

void Reactor::run_timers() {
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto due = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    due();
  }
}

void Reactor::run_once(Clock::duration limit) {
  std::vector<pollfd> polled;
  std::vector<uint64_t> numbers;
  for (const auto& [descriptor, watch] : watches_) {
    polled.push_back({.fd = descriptor, .events = watch.events, .revents = 0});
    numbers.push_back(watch.number);
  }
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until_next_timer(limit));
  if (::poll(polled.data(), polled.size(), static_cast<int>(wait.count())) > 0)
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      // An earlier handler may have ended this watch.
      const auto found = watches_.find(polled[i].fd);
      if (found == watches_.end() || found->second.number != numbers[i]) continue;
      const auto ready = found->second.ready;  // a copy: it may end its own watch
      ready(polled[i].revents);
    }
  run_timers();
}

void Reactor::run() {
  while (!stopped_) run_once(std::chrono::hours(1));
}

}  // namespace diffract::launch
