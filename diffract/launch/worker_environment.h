#pragma once
#include <string>
#include <vector>

#include "diffract/launch/assignment.h"
#include "diffract/launch/options.h"

namespace diffract::launch {

/// The environment (NAME=VALUE) of one worker: the launcher's own with what torchrun sets in it.
std::vector<std::string> worker_environment(const LaunchOptions& options, const Assignment& assignment,
                                            int local_rank, const std::string& error_file);

}  // namespace diffract::launch
