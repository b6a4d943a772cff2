#include "diffract/jobs/measured_batch_size.h"

#include <algorithm>

#include "diffract/core/log.h"

namespace diffract::jobs {
namespace {

constexpr int kRuns = 2;             // of each size, the last of which is measured
constexpr size_t kLeastBatches = 4;  // that are left of a size: a new one costs a first run

}  // namespace

size_t MeasuredBatchSize::next(const std::string& kind, size_t left) const {
  const auto found = kinds_.find(kind);
  if (found == kinds_.end()) return 1;
  const Kind& known = found->second;
  const bool is_worth_trying = known.tried * kLeastBatches <= left;
  return known.is_found || !is_worth_trying ? known.best : known.tried;
}

void MeasuredBatchSize::took(const std::string& kind, size_t size, double seconds) {
  Kind& known = kinds_[kind];
  if (known.is_found || size != known.tried || ++known.runs < kRuns) return;
  const double an_image = seconds / static_cast<double>(size);
  const bool gains = known.best_seconds == 0 || an_image < known.best_seconds * (1 - kLeastGain);
  log::info("batches of {}: {:.3f} s an image", size, an_image);
  if (gains) {
    known.best = size;
    known.best_seconds = an_image;
  }
  known.is_found = !gains || size * 2 > kMost;
  known.tried = known.is_found ? known.best : size * 2;
  known.runs = 0;
  if (known.is_found) log::info("batches of {} from now on", known.best);
}

void MeasuredBatchSize::failed(const std::string& kind, size_t size) {
  Kind& known = kinds_[kind];
  known.best = std::max<size_t>(1, std::min(known.best, size / 2));
  known.tried = known.best;
  known.is_found = true;
}

}  // namespace diffract::jobs
