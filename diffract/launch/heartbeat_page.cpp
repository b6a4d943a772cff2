#include "diffract/launch/heartbeat_page.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"

namespace diffract::launch {

HeartbeatPage::HeartbeatPage()
    : file_(::memfd_create("diffract-heartbeat", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  // Sealed, so that no worker can shrink the file under the launcher's mapping.
  if (!file_ || ::ftruncate(file_.get(), kHeartbeatPageBytes) != 0 ||
      ::fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw IoError("cannot make the page for a heartbeat: {}", std::strerror(errno));
  page_ = ::mmap(nullptr, kHeartbeatPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (page_ == MAP_FAILED) throw IoError("cannot map the page for a heartbeat: {}", std::strerror(errno));
}

HeartbeatPage::~HeartbeatPage() { ::munmap(page_, kHeartbeatPageBytes); }

std::string HeartbeatPage::variable() const {
  struct stat file {};
  ::fstat(file_.get(), &file);
  return fmt::format("{}={}:{}:{}", kHeartbeatVariable, file_.get(), file.st_dev, file.st_ino);
}

void HeartbeatPage::say_stopped() {
  constexpr size_t kStoppedWord = 2;
  static_cast<std::atomic<uint64_t>*>(page_)[kStoppedWord].store(1, std::memory_order_relaxed);
}

HeartbeatPage::Silence HeartbeatPage::silence(Clock::time_point now) {
  const auto* words = static_cast<const std::atomic<uint64_t>*>(page_);
  const uint64_t value = words[0].load(std::memory_order_acquire);
  if (value != last_) {
    last_ = value;
    changed_ = now;
  }
  if (value == 0) return {};
  constexpr uint64_t kMostMs = 86'400'000;  // a day, whatever a worker may write
  const std::chrono::milliseconds allowance(std::min(words[1].load(std::memory_order_relaxed), kMostMs));
  return {.total = now - changed_, .allowed = allowance};
}

}  // namespace diffract::launch
