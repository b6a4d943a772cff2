#pragma once
#include <ATen/ATen.h>

namespace diffract::distributed {

/// The device of a process by its rank among the processes of its host: cuda:(local_rank mod count), or the
/// CPU where there is no GPU, the build cannot use it, or ACCELERATE_USE_CPU is true.
at::Device local_device(int local_rank);

/// How many of so many processes of a host have the same GPU, at most; 1 where they have none.
int processes_per_gpu(int local_world_size);

}  // namespace diffract::distributed
