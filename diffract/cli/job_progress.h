#pragma once
#include <chrono>
#include <map>
#include <memory>

#include "diffract/cli/progress.h"
#include "diffract/jobs/job.h"
#include "diffract/jobs/job_board.h"
#include "diffract/pipelines/request.h"

namespace diffract::cli {

/// The one progress bar of a job, shown by its main process: the pictures of all processes, as the board
/// counts them, and how far this process' own are. A job of one picture counts its steps. Other processes
/// show nothing.
class JobProgress {
 public:
  JobProgress(jobs::JobBoard& board, size_t total_images) : board_(board), total_(total_images) {}

  /// After a denoising step of a batch of this process.
  void step(const pipelines::StepReport& step, const jobs::JobBatch& batch);
  /// After its last.
  void finish(const jobs::JobBatch& batch) { own_.erase(batch.images.front().index); }
  /// Whenever the number of finished pictures may have changed; `found` were finished before the job began.
  void finished(size_t found);

 private:
  using Clock = std::chrono::steady_clock;
  void show();

  jobs::JobBoard& board_;
  size_t total_, found_ = 0, reported_ = 0;
  std::map<size_t, double> own_;  // pictures' worth of steps in the batches at work, by their first picture
  Clock::time_point asked_{};
  std::unique_ptr<Progress> bar_;
};

}  // namespace diffract::cli
