#include "diffract/core/busy_cores.h"

#include <fstream>

#include "diffract/core/log.h"

namespace diffract {
namespace fs = std::filesystem;
using std::chrono::nanoseconds;
namespace {

constexpr std::chrono::seconds kLookAfter(2);  // before, a look would say more of the start than of the work
constexpr double kTaken = 0.25;                // of a thread's time: on a quiet machine it is below 0.02

}  // namespace

nanoseconds waited_for_cores(const fs::path& process) {
  nanoseconds all(0);
  std::error_code gone;
  for (const auto& thread : fs::directory_iterator(process / "task", gone)) {
    std::ifstream account(thread.path() / "schedstat");
    uint64_t ran = 0, waited = 0;  // nanoseconds
    if (account >> ran >> waited) all += nanoseconds(waited);
  }
  return all;
}

bool are_cores_taken(nanoseconds waited, nanoseconds wall, int threads) {
  return threads > 1 && waited.count() > 0 &&
         static_cast<double>(waited.count()) > kTaken * threads * static_cast<double>(wall.count());
}

void BusyCores::look(int threads) {
  if (!begin_) begin_ = Begin{};
  const auto wall = Clock::now() - begin_->time;
  if (done_ || wall < kLookAfter) return;
  done_ = true;
  if (are_cores_taken(waited_for_cores() - begin_->waited, wall, threads))
    log::info(
        "other programs use the cores, and {} threads wait for each other; diffract launch --nproc-per-node "
        "{} "
        "(for several pictures) or --threads 1 may be faster now",
        threads, threads);
}

}  // namespace diffract
