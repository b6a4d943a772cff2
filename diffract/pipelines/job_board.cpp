#include "diffract/pipelines/job_board.h"

namespace diffract::pipelines {

void LocalBoard::report(size_t batch, const std::string& result, size_t images) {
  results_[batch] = result;
  images_ += images;
}

std::optional<std::string> LocalBoard::reported(size_t batch) {
  const auto found = results_.find(batch);
  return found == results_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace diffract::pipelines
