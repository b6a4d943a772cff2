#pragma once
#include <ATen/ATen.h>

namespace diffract::distributed {

/// The device of a process by its rank among the processes of its host: cuda:(local_rank mod count), or the
/// CPU where there is no GPU, the build cannot use it, or ACCELERATE_USE_CPU is true.
at::Device local_device(int local_rank);

}  // namespace diffract::distributed
