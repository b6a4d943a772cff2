#include "diffract/launch/console.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace diffract::launch {

bool Console::write_some() {
  pollfd polled{.fd = descriptor_, .events = POLLOUT, .revents = 0};
  if (::poll(&polled, 1, 0) <= 0 || (polled.revents & POLLOUT) == 0) {
    if ((polled.revents & (POLLERR | POLLNVAL)) != 0) waiting_.clear();  // nobody reads any more
    return false;
  }
  // A pipe that is ready takes this much at once. (O_NONBLOCK would hold for all who share the stream.)
  const ssize_t written = ::write(descriptor_, waiting_.data(), std::min<size_t>(waiting_.size(), PIPE_BUF));
  if (written < 0) {
    waiting_.clear();
    return false;
  }
  waiting_.erase(0, static_cast<size_t>(written));
  return true;
}

void Console::watch() {
  reactor_.watch(descriptor_, POLLOUT, [this](short) {
    write_some();
    if (waiting_.empty()) reactor_.forget(descriptor_);
  });
}

void Console::write(std::string_view text) {
  const bool idle = waiting_.empty();
  waiting_ += text;
  if (!idle) return;
  while (!waiting_.empty() && write_some()) {
  }
  if (!waiting_.empty()) watch();
}

void Console::flush(std::chrono::milliseconds limit) {
  const auto end = Reactor::Clock::now() + limit;
  while (!waiting_.empty() && Reactor::Clock::now() < end)
    if (!write_some()) ::poll(nullptr, 0, 5);
  if (waiting_.empty()) reactor_.forget(descriptor_);
}

}  // namespace diffract::launch
