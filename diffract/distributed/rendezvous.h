#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "diffract/distributed/environment.h"
#include "diffract/distributed/store.h"

namespace diffract::distributed {

/// The name of this machine.
std::string own_host();

/// Where a process runs.
struct Peer {
  std::string host;
  int pid = 0;
  std::string pid_namespace;  // in which the pid is known, e.g. "pid:[4026531836]"
  std::string cpus;           // that it may run on when it comes: "0,1,2"
  /// "rank 2 (host node1, pid 4711)", for messages.
  std::string text(int rank) const;
};

/// This process.
Peer own_peer();
/// For the way through a store.
std::string to_text(const Peer& peer);
/// What to_text gave; throws PeerError for anything else.
Peer parse_peer(const std::string& text);

/// Whether a process runs; nothing where that cannot be seen: on another host, or in a container.
std::optional<bool> runs(const Peer& peer);
/// True for a process of this host that has ended; false also where that cannot be seen.
bool has_ended(const Peer& peer);

/// The address where the job's store is to be found: loopback on one node, and never a loopback address that
/// only the master's own host file knows.
net::Endpoint store_endpoint(const Environment& environment);
/// The address of this machine that peers reach it by: GLOO_SOCKET_IFNAME's interface, else the one that
/// leads to the store. Throws UsageError when there is no such interface.
std::string own_address(const net::Endpoint& store);

/// The job's store: served by rank 0 unless the launcher serves it, else connected to. A process that serves
/// keeps serving until it ends, so that a later group can meet there again.
Store open_store(const Environment& environment, std::chrono::milliseconds timeout);

/// What a rank says of itself when it comes.
struct CheckIn {
  int rank, size;
  std::string backend;  // "gloo" or "nccl"
};
/// All ranks of a group say that they are there, and wait for the others. Gives all of them, by rank. Throws
/// PeerError naming the ranks that did not come in time, a rank that is there twice, or a world size or
/// backend that differs; the other ranks then end their wait with the same message.
std::vector<Peer> check_in(Store& store, const CheckIn& own, std::chrono::milliseconds timeout);

/// Whether `self` and the other processes of its host may all run on the same CPUs, so that they have to
/// share them; mpirun or srun may have given each its own already.
bool share_cpus(const std::vector<Peer>& peers, const Peer& self);

/// "0, 2, 5", at most ten of them.
std::string list_ranks(const std::vector<int>& ranks);

}  // namespace diffract::distributed
