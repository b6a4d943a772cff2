#pragma once
#include "diffract/launch/options.h"
#include "diffract/launch/program.h"

namespace diffract::launch {

/// Runs this node's part of a job, and the rendezvous if this node is its host. Returns the exit code of the
/// job. `lifeline` is at its end of file when who started the launcher wants nothing left of it.
int run_agent(const LaunchOptions& options, const Program& program, int lifeline);

}  // namespace diffract::launch
