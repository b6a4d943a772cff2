#pragma once
#include <chrono>
#include <functional>

namespace diffract::launch {

/// Runs `agent` in a child process and waits for it, forwarding signals; returns its exit code.
///
/// Two processes so that each can clean up for the other: orphans of the job fall to the nearest of the two
/// that lives. When this process is killed, the agent sees its lifeline close and kills all below it. When
/// the agent is killed, the workers get their parent-death signal and what else was below them falls to this
/// process, which kills it. An agent that is stopped is named at once, and ended with all below it when it
/// stays so for `hang_timeout` (0: never), as the agent does with its workers.
///
/// `agent` gets the lifeline: a descriptor at its end of file when this process is gone.
int run_guarded(const std::function<int(int lifeline)>& agent, std::chrono::duration<double> hang_timeout);

/// The signals that a launcher passes on, blocked in both processes and read from a descriptor.
int open_signals();
/// Reads one; 0 when there is none.
int read_signal(int descriptor);

}  // namespace diffract::launch
