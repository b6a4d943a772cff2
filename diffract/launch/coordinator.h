#pragma once
#include <chrono>
#include <functional>
#include <list>
#include <optional>
#include <string>

#include "diffract/core/wait_notice.h"
#include "diffract/launch/assignment.h"
#include "diffract/launch/failure.h"
#include "diffract/launch/options.h"

namespace diffract::launch {

/// How a job ended, told to every node.
struct Outcome {
  int exit_code = 0;
  std::string message;                   // empty when all went well, or when `failure` says it
  std::optional<WorkerFailure> failure;  // the cause
};

/// What a node's agent says of itself when it joins.
struct NodeInfo {
  std::string host, address, role = "default";
  int processes = 1;
  int node_rank = 0;  // of a static rendezvous
  uint16_t port = 0;  // free on `address`, for the store if this becomes the first node
  int min_nodes = 1, max_nodes = 1;
};

/// Orders to a node's agent, here or on another machine.
class NodeLink {
 public:
  virtual ~NodeLink() = default;
  virtual void start(const Assignment& assignment) = 0;
  /// The node is to end its processes and say ready(); `why` is for its user.
  virtual void stop(const std::string& why) = 0;
  /// The job is over: end the processes and leave.
  virtual void end(const Outcome& outcome) = 0;
};

/// Decides when a job starts, with which nodes, and what follows from a failure. Knows no sockets, processes
/// or clocks: the agents' reports come in as calls with the time, its orders go out through NodeLinks.
class Coordinator {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  /// `restart_helps` says whether starting again may mend a failure.
  Coordinator(const LaunchOptions& options, std::function<bool(const WorkerFailure&)> restart_helps,
              Time now);

  /// A node is there. Throws UsageError when it does not fit: another number of nodes, a rank that is taken.
  void joined(NodeLink* link, const NodeInfo& info, Time now);
  /// The node has ended its processes; `port` is free there for the next start.
  void ready(NodeLink* link, uint16_t port, Time now);
  void failed(NodeLink* link, const WorkerFailure& failure, Time now);
  /// All of the node's processes have ended; the code is 0, or generate's for "some images failed".
  void succeeded(NodeLink* link, int exit_code, Time now);
  /// The node is gone; `why` follows its name in messages.
  void lost(NodeLink* link, const std::string& why, Time now);
  /// A user or a scheduler stopped the node's launcher.
  void interrupted(NodeLink* link, int signal, Time now);
  /// What is due by time; to be called a few times a second.
  void tick(Time now);

  bool over() const { return phase_ == Phase::over; }

 private:
  enum class Phase { gathering, running, stopping, over };
  enum class State { waiting, running, stopping, done };
  struct Node {
    NodeLink* link;
    NodeInfo info;
    State state = State::waiting;
  };

  Node* find(NodeLink* link);
  void check_fits(const NodeInfo& info) const;
  size_t count(State state) const;
  int members_left() const;
  void start_if_complete(Time now);
  void start();
  void stop_all(const std::string& why, Time now);
  void decide(Time now);
  void end_all(const Outcome& outcome);
  std::string who_is_missing() const;
  /// "1 of 2 machines have come to node1:29500 (here: ...)": what the host's user is told while it waits.
  std::string waiting_text(Time now) const;

  const LaunchOptions& options_;
  std::function<bool(const WorkerFailure&)> restart_helps_;
  Phase phase_ = Phase::gathering;
  std::list<Node> nodes_;
  std::optional<WorkerFailure> cause_;  // a failure that may yet turn out to be another's consequence
  Time decide_at_, join_deadline_, stop_deadline_;
  std::optional<Time> last_call_;
  WaitNotice notice_;
  Outcome outcome_;  // once it is over
  int starts_ = 0, restarts_used_ = 0, exit_code_ = 0;
};

}  // namespace diffract::launch
