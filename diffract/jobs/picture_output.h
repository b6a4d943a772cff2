#pragma once
#include <map>
#include <optional>
#include <vector>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/jobs/job_folder.h"
#include "diffract/jobs/job_options.h"
#include "diffract/jobs/job_runner.h"
#include "diffract/jobs/output_pattern.h"
#include "diffract/jobs/picture_parameters.h"

namespace diffract::jobs {

/// Where the pictures of a job go: files named by the pattern, each with its parameters inside, and their
/// manifest, or one file of latents a process; and the file of the steps' latents.
class PictureOutput {
 public:
  /// Checks every file name and folder. Throws UsageError when two pictures would get one name, IoError when
  /// a folder cannot be written to.
  PictureOutput(const OutputOptions& options, const std::vector<JobBatch>& batches, JobBoard& board);
  PictureOutput(const PictureOutput&) = delete;
  PictureOutput& operator=(const PictureOutput&) = delete;

  /// True when pictures that are there already are to be looked for.
  bool looks_for_finished() const;
  /// What the parameters in the pictures are made with, which lives as long as this; before the first
  /// picture, and before find_finished() where pictures are looked for.
  void describe(const PictureParameters& parameters) { parameters_ = &parameters; }
  /// Of each batch, the summaries of its pictures when all are there already; nothing without `resume` or a
  /// restart, when the job begins anew.
  std::vector<Json> find_finished();

  /// Forgets the steps of a batch that failed.
  void begin_batch() { batch_steps_.clear(); }
  void record_step(const pipelines::StepReport& step);
  /// Whether the pictures are to be shown after this step, and saves what they look like.
  bool is_preview_due(const pipelines::StepReport& step) const;
  void put_previews(const JobBatch& batch, size_t step, const std::vector<io::Image>& pictures) const;
  /// Takes what Pipeline::begin gave of a batch; gives what saves its pictures. That and record_failure() may
  /// run in another thread, one at a time, beside the calls for the next batch.
  JobWork::Save finish_batch(const JobBatch& batch, pipelines::Output result);
  void record_failure(const JobBatch& batch, const Failure& failure);
  /// Saves what is in one file for all pictures of this process; no file when it had none.
  void finish_share();
  /// Whether `resume` would skip what was made when the job is stopped.
  bool can_resume() const;

 private:
  JobFolder::Naming naming();
  bool has_many() const { return batches_.size() > 1 || batches_.front().images.size() > 1; }
  // Throws UsageError where two pictures would get one.
  std::vector<std::string> distinct_names() const;
  void check_shapes() const;
  struct Arrived {
    std::vector<io::Image> pictures;
    std::vector<bool> nsfw_content_detected;  // empty: nobody looked
    int threads;                              // that computed them
  };
  Json put_pictures(const JobBatch& batch, const Arrived& arrived);
  Json describe_latents(const JobBatch& batch) const;
  std::string file(const JobImage& image) const { return pattern_.file(image, board_.rank()); }

  const OutputOptions& options_;
  const std::vector<JobBatch>& batches_;
  JobBoard& board_;
  OutputPattern pattern_;
  JobFolder folder_;
  const PictureParameters* parameters_ = nullptr;
  std::map<size_t, at::Tensor> batch_steps_;         // of the batch that runs
  std::map<size_t, std::vector<at::Tensor>> steps_;  // by step: the latents of each batch
  // Of each batch, by its first picture, and the numbers of its pictures.
  std::map<size_t, std::pair<at::Tensor, std::vector<int64_t>>> latents_;
};

}  // namespace diffract::jobs
