#pragma once
#include <chrono>

namespace diffract {

/// Tells the launcher that started this process that its work goes on. A worker that has begun to beat and
/// then falls silent for the launcher's `--hang-timeout` counts as hung. Costs a read of the coarse clock and
/// writes at most every 100 ms; does nothing without a launcher. Thread-safe.
///
/// `allowance`: what follows may take so much longer than the timeout, for its size. Holds until the next
/// beat.
void heartbeat(std::chrono::milliseconds allowance = {});

/// An accelerator was told to do what takes so long on a slow one, and works behind our back. A wait for it
/// may come at any time, so beats allow for all of it, up to five minutes, until the next rest.
void heartbeat_queued(std::chrono::milliseconds work);
/// What it was told so, since the last rest.
std::chrono::milliseconds queued_work();

/// Tells the launcher that nothing is due until the next beat: before a wait that has a timeout of its own
/// (for peers, a load from a slow disk), so that one who waits is not blamed for the one who hangs.
void heartbeat_rest();

/// Rests when a piece of work ends, whichever way it ends.
struct HeartbeatRestAtEnd {
  HeartbeatRestAtEnd() = default;
  ~HeartbeatRestAtEnd() { heartbeat_rest(); }
  HeartbeatRestAtEnd(const HeartbeatRestAtEnd&) = delete;
  HeartbeatRestAtEnd& operator=(const HeartbeatRestAtEnd&) = delete;
};

/// True once the launcher has told this process to end. Then another's failure, or a signal to the launcher,
/// is the cause, of which the launcher itself tells.
bool stopped_by_launcher();

/// How the launcher hands its workers the page they beat into: the variable holds "DESCRIPTOR:DEVICE:INODE"
/// of an inherited memory file. The page begins with three 64-bit words: 0 while nothing is due, else a time;
/// the allowance in milliseconds; and the launcher's own, 1 once it ends the process.
inline constexpr const char* kHeartbeatVariable = "DIFFRACT_HEARTBEAT";
inline constexpr unsigned kHeartbeatPageBytes = 4096;

}  // namespace diffract
