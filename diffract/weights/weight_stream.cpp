#include "diffract/weights/weight_stream.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "diffract/core/log.h"

namespace diffract::weights {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kReadBytes = size_t{16} << 20;    // at once
constexpr std::chrono::seconds kLongestWait{600};  // for a part; after it the part is read when touched

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Calls advise(address, bytes) over the whole pages that hold the range, or, shrunk, over those that hold
// nothing else.
template <typename Advise>
void over_pages(std::span<const std::byte> range, bool shrunk, const Advise& advise) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto* data = const_cast<std::byte*>(range.data());
  const size_t before = reinterpret_cast<uintptr_t>(data) % page;
  size_t skip = shrunk && before ? page - before : 0;
  size_t size = range.size() + (shrunk ? 0 : before);
  if (skip > size) return;
  size -= skip;
  if (shrunk) size -= size % page;
  if (size > 0) advise(const_cast<std::byte*>(data) + skip - (shrunk ? 0 : before), size);
}

void read_pages(std::span<const std::byte> range) {
  over_pages(range, /*shrunk=*/false, [](std::byte* address, size_t bytes) {
    ::madvise(address, bytes, MADV_WILLNEED);  // many requests at once to the disk
    for (size_t at = 0; at < bytes; at += kReadBytes)
      ::madvise(address + at, std::min(kReadBytes, bytes - at), MADV_POPULATE_READ);
  });
}

void give_back_pages(std::span<const std::byte> range) {
  over_pages(range, /*shrunk=*/true, [](std::byte* address, size_t bytes) {
    // Out of the page cache too, where we may: else the kernel would keep these and drop what comes next.
    if (::madvise(address, bytes, MADV_PAGEOUT) != 0) ::madvise(address, bytes, MADV_DONTNEED);
  });
}

}  // namespace

WeightStream::~WeightStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (reader_.joinable()) reader_.join();
  if (statistics_.bytes_read > 0)
    log::info("weights: {:.1f} GB read at {:.2f} GB/s; {:.1f} s of waiting for them",
              static_cast<double>(statistics_.bytes_read) / 1e9,
              static_cast<double>(statistics_.bytes_read) / 1e9 / std::max(statistics_.seconds_reading, 1e-9),
              statistics_.seconds_waiting);
}

size_t WeightStream::begin_part() {
  parts_.emplace_back();
  building_ = true;
  return parts_.size() - 1;
}

void WeightStream::add(std::span<const std::byte> mapped) {
  if (!building_) return;
  parts_.back().ranges.push_back(mapped);
  parts_.back().bytes += mapped.size();
}

void WeightStream::plan() {
  planned_ = true;
  uint64_t total = 0;
  for (const Part& part : parts_) total += part.bytes;
  // Evenly over the model: a part stays where the share of what stays falls behind the share that may.
  uint64_t seen = 0, staying = 0;
  for (Part& part : parts_) {
    seen += part.bytes;
    const double due =
        static_cast<double>(resident_bytes_) * static_cast<double>(seen) / static_cast<double>(total);
    part.stays = total <= resident_bytes_ || static_cast<double>(staying + part.bytes) <= due;
    if (part.stays) staying += part.bytes;
  }
}

std::optional<size_t> WeightStream::next_streamed(size_t place) const {
  for (size_t i = 1; i <= parts_.size(); ++i) {
    const size_t next = (place + i) % parts_.size();
    if (!parts_[next].stays) return next;
  }
  return {};
}

void WeightStream::read_on(std::optional<size_t> place) {
  if (!place || parts_[*place].is_read) return;
  if (!reader_.joinable()) reader_ = std::thread([this] { run(); });
  wanted_ = place;
  changed_.notify_all();
}

void WeightStream::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || wanted_; });
    if (stop_) return;
    const size_t place = *wanted_;
    wanted_.reset();
    lock.unlock();
    const auto begin = Clock::now();
    for (const auto range : parts_[place].ranges) read_pages(range);
    lock.lock();
    parts_[place].is_read = true;
    statistics_.bytes_read += parts_[place].bytes;
    statistics_.seconds_reading += seconds_since(begin);
    changed_.notify_all();
  }
}

void WeightStream::enter(size_t place) {
  std::unique_lock lock(mutex_);
  if (!planned_) plan();
  std::optional<size_t> behind;
  if (!parts_[place].stays && current_ != place) {
    read_on(place);
    const auto begin = Clock::now();
    changed_.wait_for(lock, kLongestWait, [&] { return parts_[place].is_read; });
    statistics_.seconds_waiting += seconds_since(begin);
    behind = std::exchange(current_, place);
    if (behind) parts_[*behind].is_read = false;
  }
  const auto next = next_streamed(place);
  if (next != current_) read_on(next);
  lock.unlock();
  if (behind)
    for (const auto range : parts_[*behind].ranges) give_back_pages(range);
}

WeightStream::Statistics WeightStream::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace diffract::weights
