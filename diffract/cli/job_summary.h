#pragma once
#include <optional>

#include "diffract/core/json.h"
#include "diffract/jobs/worker.h"

namespace diffract::cli {

/// What `generate` says at the end of a job, in its main process.
class JobSummary {
 public:
  JobSummary(const jobs::Worker& worker, int world_size, const jobs::JobOutcome& outcome)
      : worker_(worker), world_size_(world_size), outcome_(outcome), figures_(worker.figures()) {}

  /// One JSON object, or the files' names on stdout and the figures in the log. `failure`: how the job ends.
  void print(bool as_json, const std::optional<jobs::Failure>& failure) const;

 private:
  Json to_json() const;

  const jobs::Worker& worker_;
  int world_size_;
  const jobs::JobOutcome& outcome_;
  jobs::JobFigures figures_;
};

}  // namespace diffract::cli
