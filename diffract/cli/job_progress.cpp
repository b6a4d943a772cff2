#include "diffract/cli/job_progress.h"

#include "diffract/cli/status_line.h"

namespace diffract::cli {
namespace {

constexpr auto kAskInterval = std::chrono::milliseconds(200);

}  // namespace

void JobProgress::step(const pipelines::StepReport& step, const jobs::JobBatch& batch) {
  if (!board_.is_main()) return;
  if (total_ == 1) {
    // The first report tells how many evaluations the picture takes; some methods make two a step.
    if (!bar_) bar_ = std::make_unique<Progress>(step.count, "step", stderr_is_terminal(), step.index + 1);
    bar_->show(static_cast<double>(step.index + 1));
    return;
  }
  own_[batch.images.front().index] = static_cast<double>(batch.images.size()) *
                                     static_cast<double>(step.index + 1) / static_cast<double>(step.count);
  show();
}

void JobProgress::finished(size_t found) {
  if (!board_.is_main() || total_ == 1 || found == total_) return;
  if (!bar_) bar_ = std::make_unique<Progress>(total_, "image", stderr_is_terminal(), found);
  found_ = found;
  show();
}

void JobProgress::show() {
  if (const auto now = Clock::now(); now - asked_ >= kAskInterval || own_.empty()) {
    reported_ = board_.images_reported();
    asked_ = now;
  }
  double own = 0;
  for (const auto& [batch, pictures] : own_) own += pictures;
  // Another process may have reported the batch at work's like; the bar never passes its end.
  bar_->show(std::min(static_cast<double>(total_), static_cast<double>(found_ + reported_) + own));
}

}  // namespace diffract::cli
