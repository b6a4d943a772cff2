#pragma once
#include <chrono>
#include <string>
#include <vector>

namespace diffract::launch {

/// Makes this process the one to which orphans below it fall, so that none gets out of its sight.
void adopt_orphans();

struct Descendant {
  int pid;
  int parent;
  uint64_t start_time;  // with the pid it names a process for good
  std::string name;
};

/// The living processes below this one, however far.
std::vector<Descendant> descendants();

/// Sends `signal` to each living process below this one, and to no other: what is signalled is held by a
/// pidfd, where the kernel has them, and looked at again, since a pid may pass to a stranger at any time.
/// Returns whom it was sent to.
std::vector<Descendant> signal_descendants(int signal);

/// Kills and reaps all that is below this process, new ones as they come, for at most `limit`. False when
/// some is left then (in an uninterruptible call of the kernel).
bool kill_descendants(std::chrono::milliseconds limit);

}  // namespace diffract::launch
