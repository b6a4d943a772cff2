#include "diffract/cli/job_progress.h"

namespace diffract::cli {
namespace {

constexpr auto kAskInterval = std::chrono::milliseconds(200);

}  // namespace

void JobProgress::step(const pipelines::StepReport& step, size_t batch_images) {
  if (!board_.is_main()) return;
  if (total_ == 1) {
    // The first report tells how many evaluations the picture takes; some methods make two a step.
    if (!bar_) bar_ = std::make_unique<Progress>(step.count, "step", stderr_is_terminal());
    bar_->show(static_cast<double>(step.index + 1));
    return;
  }
  own_ = static_cast<double>(batch_images) * static_cast<double>(step.index + 1) /
         static_cast<double>(step.count);
  show();
}

void JobProgress::finished(size_t found) {
  if (!board_.is_main() || total_ == 1 || found == total_) return;
  if (!bar_) bar_ = std::make_unique<Progress>(total_, "image", stderr_is_terminal(), found);
  found_ = found;
  own_ = 0;
  show();
}

void JobProgress::show() {
  if (const auto now = Clock::now(); now - asked_ >= kAskInterval || own_ == 0) {
    reported_ = board_.images_reported();
    asked_ = now;
  }
  // Another process may have reported the batch at work's like; the bar never passes its end.
  bar_->show(std::min(static_cast<double>(total_), static_cast<double>(found_ + reported_) + own_));
}

}  // namespace diffract::cli
