#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "diffract/distributed/environment.h"
#include "diffract/distributed/store.h"

namespace diffract::distributed {

/// Where a process runs.
struct Peer {
  std::string host;
  int pid = 0;
  /// "rank 2 (host node1, pid 4711)", for messages.
  std::string text(int rank) const;
};

/// The address where the job's store is to be found: loopback on one node, and never a loopback address that
/// only the master's own host file knows.
Endpoint store_endpoint(const Environment& environment);
/// The address of this machine that peers reach it by: GLOO_SOCKET_IFNAME's interface, else the one that
/// leads to the store. Throws UsageError when there is no such interface.
std::string own_address(const Endpoint& store);

/// The job's store: served by rank 0 unless the launcher serves it, else connected to. A process that serves
/// keeps serving until it ends, so that a later group can meet there again.
Store open_store(const Environment& environment, std::chrono::milliseconds timeout);

/// All ranks of a group say that they are there, and wait for the others. Gives all of them, by rank. Throws
/// PeerError naming the ranks that did not come in time, a rank that is there twice, or a world size that
/// differs; the other ranks then end their wait with the same message.
std::vector<Peer> check_in(Store& store, int rank, int size, std::chrono::milliseconds timeout);

/// "0, 2, 5", at most ten of them.
std::string list_ranks(const std::vector<int>& ranks);

}  // namespace diffract::distributed
