#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/busy_cores.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/jobs/job_options.h"
#include "diffract/jobs/join_job.h"
#include "diffract/jobs/picture_output.h"

namespace diffract::jobs {

/// Who watches a job; each call may be left out.
struct JobObserver {
  /// Before the first batch of this process, when the processes of the job have met.
  std::function<void()> begins = [] {};
  loading::LoadObserver on_load = {};
  std::function<void(const pipelines::StepReport& step, const JobBatch& batch)> step = [](const auto&,
                                                                                          const auto&) {};
  /// A batch of this process is saved, or failed.
  std::function<void(const JobBatch& batch)> finished_batch = [](const auto&) {};
  /// Whenever the number of finished pictures may have changed, and while others are waited for; `found` were
  /// finished before.
  std::function<void(size_t found)> progress = [](size_t) {};
};

/// What a job took and left in memory.
struct JobFigures {
  double load_seconds = 0, run_seconds = 0;
  std::vector<loading::ComponentStay> stays = {};
  placement::DeviceMap device_map = {};
};

/// One process of a job of pictures: loads the model when it is needed, makes the pictures that the job's
/// board deals to it, and puts them in their place.
class Worker {
 public:
  /// Checks all names and folders before anything is computed. Throws UsageError, IoError. What it is given
  /// must outlive it.
  Worker(const JobOptions& options, const JobPlace& place);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const std::vector<JobBatch>& batches() const { return batches_; }
  size_t image_count() const;
  /// The outcome is whole in the main process. Throws what ends the job.
  JobOutcome run(const JobObserver& observer);
  /// After run(); in the main process.
  JobFigures figures() const;
  /// What the summary says of the model and of all pictures.
  Json parameters() const;

 private:
  const families::DiffusionPipeline& pipeline();
  loading::ExpectedRequest expected() const;
  void share_memory(loading::MemoryCheck& check) const;
  JobWork work();
  JobSchedule schedule() const;
  int in_flight() const;
  std::vector<Json> find_finished();
  JobWork::Save run_batch(const JobBatch& batch, const std::function<void()>& look);
  bool writes() const { return !is_together_ || board_.is_main(); }
  void take_cores();
  int64_t pixels_of(const JobBatch& batch) const;
  void spare_threads() const;

  const JobOptions& options_;
  const JobPlace& place_;
  JobBoard& board_;
  bool is_together_;
  std::vector<JobBatch> batches_;
  PictureOutput output_;
  const JobObserver* observer_;  // of the run; nobody else
  uint64_t free_at_start_;
  std::optional<families::DiffusionPipeline> pipeline_;
  std::optional<PictureParameters> parameters_;
  BusyCores busy_cores_;
  JobFigures figures_;
};

}  // namespace diffract::jobs
