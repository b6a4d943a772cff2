#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "diffract/pipelines/request.h"

namespace diffract::jobs {

/// One picture of a job.
struct JobImage {
  size_t index;  // over the whole job: prompt index times images per prompt, plus image index
  uint64_t seed;
  std::string prompt, negative_prompt;  // empty when none was given
};

/// Consecutive pictures of a job that are computed together. Its request holds their prompts one by one
/// (num_images_per_prompt is 1) and their seeds, so a picture does not depend on which process computes the
/// batch.
struct JobBatch {
  pipelines::Request request;
  std::vector<JobImage> images;
};

/// Cuts a job into batches of at most `batch_size` consecutive pictures that agree in every field of a
/// request but prompts and seeds. Each request stands for its prompts times its num_images_per_prompt;
/// picture i of the job gets the seed `job_seed + i`, or, where the request has a seed, that one plus its
/// place in the request. `controlnets`: how many the pictures are drawn with. Throws UsageError for an empty
/// job, a batch size below 1, and texts that do not match their prompts in number.
std::vector<JobBatch> plan_job(const std::vector<pipelines::Request>& requests, uint64_t job_seed,
                               int64_t batch_size, size_t controlnets = 1);

/// What batches must agree in to be computed together, as a text.
std::string kind_of(const JobBatch& batch);
/// Puts the pictures of a batch of the same kind behind those of `to`.
void append(JobBatch& to, const JobBatch& batch);

}  // namespace diffract::jobs
