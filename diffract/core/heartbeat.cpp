#include "diffract/core/heartbeat.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace diffract {
namespace {

using Word = std::atomic<uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);  // shared between processes
struct Page {
  Word time, allowance, stopped;
};

// The page of the launcher, or null. The descriptor is closed on exec from here on, so that programs this one
// starts do not beat in its name; they inherit the variable, but find another file, or none, under its
// number.
Page* adopt_page() {
  const char* variable = std::getenv(kHeartbeatVariable);
  int descriptor = -1;
  unsigned long long device = 0, inode = 0;
  if (!variable || std::sscanf(variable, "%d:%llu:%llu", &descriptor, &device, &inode) != 3) return nullptr;
  struct stat file {};
  if (descriptor < 0 || ::fstat(descriptor, &file) != 0 || file.st_dev != device || file.st_ino != inode ||
      file.st_size != kHeartbeatPageBytes)
    return nullptr;
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  void* page = ::mmap(nullptr, kHeartbeatPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  return page == MAP_FAILED ? nullptr : static_cast<Page*>(page);
}

// Adopted when the program starts, before it can start another.
Page* const kPage = adopt_page();

// What accelerators were told since the last rest.
std::atomic<uint64_t> behind_ms = 0;
constexpr uint64_t kMostBehindMs = 300'000;

uint64_t coarse_milliseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace

void heartbeat(std::chrono::milliseconds allowance) {
  constexpr uint64_t kIntervalMs = 100;
  if (!kPage) return;
  const uint64_t now = coarse_milliseconds() | 1;  // never 0
  const uint64_t last = kPage->time.load(std::memory_order_relaxed);
  const auto extra = static_cast<uint64_t>(allowance.count()) +
                     std::min(behind_ms.load(std::memory_order_relaxed), kMostBehindMs);
  const bool other_extra = kPage->allowance.load(std::memory_order_relaxed) != extra;
  if (other_extra) kPage->allowance.store(extra, std::memory_order_relaxed);
  if (other_extra || now - last >= kIntervalMs) kPage->time.store(now, std::memory_order_release);
}

void heartbeat_queued(std::chrono::milliseconds work) {
  if (kPage) behind_ms.fetch_add(static_cast<uint64_t>(work.count()), std::memory_order_relaxed);
}

std::chrono::milliseconds queued_work() {
  return std::chrono::milliseconds(behind_ms.load(std::memory_order_relaxed));
}

bool stopped_by_launcher() { return kPage && kPage->stopped.load(std::memory_order_relaxed) != 0; }

void heartbeat_rest() {
  if (!kPage) return;
  behind_ms.store(0, std::memory_order_relaxed);
  kPage->time.store(0, std::memory_order_relaxed);
}

}  // namespace diffract
