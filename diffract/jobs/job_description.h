#pragma once
#include <string>
#include <vector>

#include "diffract/jobs/job.h"
#include "diffract/jobs/job_runner.h"

namespace diffract::jobs {

/// What a job is, as a JSON text of at most a few MiB: the same in all its processes, and only in them.
/// `settings`: what the pictures depend on beside the requests, an object. The model's folder is not part of
/// it: it may differ between hosts.
std::string describe_job(const std::vector<JobBatch>& batches, JobSchedule schedule, const Json& settings);

/// The job that a process has.
struct JobOf {
  std::string process;  // "rank 0", for messages
  std::string text;     // its number of processes, a blank, and describe_job's text
};
/// The first thing in which two jobs differ, with both values: "--num-inference-steps is 4 for rank 0 and 5
/// for rank 1". Takes any text: what comes over the network may be anything.
std::string job_difference(const JobOf& theirs, const JobOf& ours);

}  // namespace diffract::jobs
