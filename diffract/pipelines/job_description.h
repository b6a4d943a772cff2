#pragma once
#include <string>
#include <vector>

#include "diffract/pipelines/job.h"
#include "diffract/pipelines/job_runner.h"

namespace diffract::pipelines {

/// What a job is, as a JSON text of at most a few MiB: the same in all its processes, and only in them.
/// `settings`: what the pictures depend on beside the requests, an object. The model's folder is not part of
/// it: it may differ between hosts.
std::string describe_job(const std::vector<JobBatch>& batches, JobSchedule schedule, const Json& settings);

/// The first thing in which two jobs differ, with both values: "--num-inference-steps is 4 there and 5 here".
/// Each text is what a process has: its number of processes, a blank, and describe_job's text. Takes any
/// text: what comes over the network may be anything.
std::string job_difference(const std::string& theirs, const std::string& ours);

}  // namespace diffract::pipelines
