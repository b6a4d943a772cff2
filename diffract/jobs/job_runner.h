#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/jobs/job.h"
#include "diffract/jobs/job_board.h"

namespace diffract::jobs {

/// How batches go to processes: contiguous shares, one by one to who is free, or each to all of them, which
/// compute it together.
enum class JobSchedule { fixed, dynamic, together };

/// What a process does for a job; the runner says when.
struct JobWork {
  /// All that the pictures depend on beside their batches, an object: processes in which it differs have
  /// different jobs.
  Json settings = Json::object();
  /// Results stay in this process until finish_share: one that comes back computes its whole share anew.
  bool keeps_results = false;
  /// Of each batch, the summaries of its pictures (a JSON array) when all are finished already, else null.
  /// Called once at the beginning, in one process of a host.
  std::function<std::vector<Json>()> find_finished;
  /// Before the first batch that this process computes. What it throws would befall every picture and ends
  /// the job, not a picture.
  std::function<void()> prepare = [] {};
  /// Saves a batch that was computed; gives the summaries of its pictures.
  using Save = std::function<Json()>;
  /// Computes a batch, which lives until it is saved; gives what saves it, which is called once, in another
  /// thread, while the next batch is computed. `look` is to be called between steps: it throws where the job
  /// ended meanwhile.
  std::function<Save(const JobBatch& batch, const std::function<void()>& look)> run;
  /// Writes down that the pictures of a batch failed. Called where batches are saved, in their order.
  std::function<void(const JobBatch& batch, const Failure& failure)> record_failure;
  /// A batch of this process is saved, or its failure is, and the board knows.
  std::function<void(const JobBatch& batch)> finished = [](const auto&) {};
  /// After the last batch of this process, before the main process hears that it is through.
  std::function<void()> finish_share;
  /// Called whenever pictures got finished, and several times a second while the main process waits, with the
  /// number of those that were finished before.
  std::function<void(size_t images_found)> progress;
  int in_flight = 1;  // batches on their way at once; JobSchedule::together
  /// Computes as many batches of a kind at once as is fastest, which is found by measuring; not together.
  bool measures_batch_size = false;
};

struct FailedImage {
  JobImage image;
  Failure failure;
};

/// What became of a job, complete in the main process.
struct JobOutcome {
  std::vector<Json> images;  // summaries of the finished pictures, by index
  std::vector<FailedImage> failed;
  size_t images_run = 0;    // by this process
  size_t images_found = 0;  // finished before
};

/// Runs this process' part of a job and, in the main process, waits for the others and computes what those
/// that were killed left undone. A picture that fails (out of memory, an option that does not fit) is
/// recorded and the job goes on; what would befall every picture (a lost peer, a full disk, a damaged
/// checkpoint, a device that answers nothing any more) ends it, as does the failure of a job's only batch,
/// and, where processes compute together, a failure that the others do not have as well.
JobOutcome run_job(const std::vector<JobBatch>& batches, JobSchedule schedule, JobBoard& board,
                   const JobWork& work);

/// Calls what a process does for a job, run_job and what is around it. When it fails, the others of the job
/// are told, and the error goes on.
void run_as_member(JobBoard& board, const std::function<void()>& part);

/// Throws what the exit code of a job with failed pictures is to be: SomeFailed, or, when all failed and in
/// one way, that error.
void throw_if_failed(const JobOutcome& outcome);

}  // namespace diffract::jobs
