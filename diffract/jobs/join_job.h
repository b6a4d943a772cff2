#pragma once
#include <functional>
#include <memory>

#include "diffract/jobs/job_board.h"

namespace diffract::jobs {

/// Where this process meets the others of its job, if whoever started it says that there are others.
struct JobPlace {
  std::unique_ptr<JobBoard> board;
  int local_rank = 0, local_world_size = 1;
};

/// Whether a launcher may start this process again, or has, with the same options but a standard input that
/// was read: what torchrun and `diffract launch` say in the environment.
bool may_start_again();

/// Reads the environment (torchrun's, MPI's, Slurm's, Kubernetes') and joins the job's store; rank 0 serves
/// it unless the launcher does. Throws UsageError for a half-set environment, PeerError when the store is not
/// there. `check` is told the number of processes before this one meets the others, so that what is wrong
/// with the options is said by each of them rather than by one, whose store the others then miss.
JobPlace join_job(const std::function<void(int world_size)>& check);

}  // namespace diffract::jobs
