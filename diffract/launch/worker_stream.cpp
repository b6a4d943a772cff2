#include "diffract/launch/worker_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "diffract/core/error.h"

namespace diffract::launch {
namespace {

constexpr size_t kTailBytes = 4096, kTailLines = 20;
constexpr std::chrono::milliseconds kPartialLine{50}, kPause{20};

void write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // a full disk costs the log, not the job
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

WorkerStream::WorkerStream(Reactor& reactor, Console* console, FileDescriptor log, std::string prefix)
    : reactor_(reactor), console_(console), log_(std::move(log)), prefix_(std::move(prefix)) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw IoError("cannot make a pipe: {}", std::strerror(errno));
  near_end_ = FileDescriptor(ends[0]);
  worker_end_ = FileDescriptor(ends[1]);
  ::fcntl(near_end_.get(), F_SETFL, O_NONBLOCK);
  watch();
}

WorkerStream::~WorkerStream() { reactor_.forget(near_end_.get()); }

void WorkerStream::watch() {
  reactor_.watch(near_end_.get(), POLLIN, [this](short) {
    if (console_ && console_->full()) {  // the worker waits, as it would for the terminal itself
      reactor_.forget(near_end_.get());
      reactor_.after(kPause, [this, alive = std::weak_ptr<char>(alive_)] {
        if (!alive.expired()) watch();
      });
      return;
    }
    read_some();
  });
}

bool WorkerStream::read_some() {
  char buffer[16384];
  const ssize_t size = ::read(near_end_.get(), buffer, sizeof buffer);
  if (size > 0) {
    take({buffer, static_cast<size_t>(size)});
    return true;
  }
  if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
    reactor_.forget(near_end_.get());  // all who could write are gone
    show(true);
  }
  return false;
}

void WorkerStream::drain() {
  // What a worker left is in the pipe's buffer; who still writes may go on for ever.
  constexpr int kMostReads = 64;
  for (int i = 0; i < kMostReads && read_some(); ++i) {
  }
  show(true);
}

void WorkerStream::take(std::string_view bytes) {
  if (log_) write_all(log_.get(), bytes);
  tail_ += bytes;
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  if (!console_) return;
  unshown_ += bytes;
  show(false);
  if (!unshown_.empty() &&
      unshown_.size() < bytes.size() + 1)  // a new part of a line: a prompt, or half a write
    reactor_.after(kPartialLine, [this, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired()) show(true);
    });
}

// Whole lines at a time, so that those of several workers do not mix. A "\r" ends one, too: progress bars.
void WorkerStream::show(bool all) {
  if (!console_ || unshown_.empty()) return;
  const size_t last = unshown_.find_last_of("\r\n");
  const size_t size = all ? unshown_.size() : last == std::string::npos ? 0 : last + 1;
  if (size == 0) return;
  std::string text;
  for (size_t begin = 0; begin < size;) {
    const size_t newline = unshown_.find('\n', begin);
    const size_t end = newline == std::string::npos || newline >= size ? size : newline + 1;
    if (line_begins_) text += prefix_;
    text.append(unshown_, begin, end - begin);
    line_begins_ = text.back() == '\n';
    begin = end;
  }
  unshown_.erase(0, size);
  console_->write(text);
}

std::string WorkerStream::last_lines() const {
  std::string text = tail_.size() > kTailBytes ? tail_.substr(tail_.size() - kTailBytes) : tail_;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  size_t begin = text.size();
  for (size_t lines = 0; lines < kTailLines && begin != std::string::npos && begin > 0; ++lines)
    begin = text.rfind('\n', begin - 1);
  return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

}  // namespace diffract::launch
