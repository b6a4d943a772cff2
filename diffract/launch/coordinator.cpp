#include "diffract/launch/coordinator.h"

#include <algorithm>
#include <csignal>
#include <map>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/process.h"
#include "diffract/net/network.h"

namespace diffract::launch {
namespace {

using Clock = Coordinator::Clock;

// A worker that lost a peer says so within moments of that peer's own end; the peer's is the cause.
constexpr std::chrono::milliseconds kCauseWindow{300};
constexpr std::chrono::seconds kStopSlack{45};  // beyond the grace period: killing, and what is left behind

Clock::duration to_clock(Seconds seconds) { return std::chrono::duration_cast<Clock::duration>(seconds); }

int peer_code() { return error_info(ErrorKind::peer).exit_code; }

}  // namespace

Coordinator::Coordinator(const LaunchOptions& options,
                         std::function<bool(const WorkerFailure&)> restart_helps, Time now)
    : options_(options),
      restart_helps_(std::move(restart_helps)),
      join_deadline_(now + to_clock(options.rendezvous.join_timeout)),
      notice_(now) {}

Coordinator::Node* Coordinator::find(NodeLink* link) {
  const auto found =
      std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.link == link; });
  return found == nodes_.end() ? nullptr : &*found;
}

size_t Coordinator::count(State state) const {
  return static_cast<size_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.state == state; }));
}

void Coordinator::check_fits(const NodeInfo& info) const {
  if (info.min_nodes != options_.min_nodes || info.max_nodes != options_.max_nodes)
    throw UsageError(
        "host {} was started with --nnodes {}:{}, this job with {}:{}. Give the same on all machines",
        info.host, info.min_nodes, info.max_nodes, options_.min_nodes, options_.max_nodes);
  if (options_.rendezvous.dynamic) return;
  if (info.node_rank >= options_.max_nodes)
    throw UsageError("host {} has --node-rank {}; expected 0 to {}", info.host, info.node_rank,
                     options_.max_nodes - 1);
  for (const Node& node : nodes_)
    if (node.info.node_rank == info.node_rank)
      throw UsageError("host {} has --node-rank {}, which host {} has already. Give each machine its own",
                       info.host, info.node_rank, node.info.host);
}

void Coordinator::joined(NodeLink* link, const NodeInfo& info, Time now) {
  if (phase_ == Phase::over) return link->end(outcome_);
  check_fits(info);
  nodes_.push_back({.link = link, .info = info});
  if (phase_ == Phase::gathering) return start_if_complete(now);
  if (phase_ == Phase::running &&
      count(State::running) + count(State::done) < static_cast<size_t>(options_.max_nodes))
    stop_all(fmt::format("host {} joins the job; it starts again with {} machines", info.host, nodes_.size()),
             now);
}

void Coordinator::ready(NodeLink* link, uint16_t port, Time now) {
  Node* node = find(link);
  if (!node) return;
  node->info.port = port;
  node->state = State::waiting;
  start_if_complete(now);
}

void Coordinator::start_if_complete(Time now) {
  const auto waiting = static_cast<int>(count(State::waiting));
  if (phase_ == Phase::stopping) {
    if (waiting == static_cast<int>(nodes_.size())) start();
    return;
  }
  if (phase_ != Phase::gathering) return;
  if (waiting >= options_.max_nodes) return start();
  if (waiting < options_.min_nodes) {
    last_call_.reset();
    return;
  }
  if (!last_call_) last_call_ = now + to_clock(options_.rendezvous.last_call_timeout);
  if (now >= *last_call_) start();
}

void Coordinator::start() {
  // Nodes beyond the most stay in reserve.
  std::vector<Node*> members;
  for (Node& node : nodes_) members.push_back(&node);
  if (!options_.rendezvous.dynamic)
    std::sort(members.begin(), members.end(),
              [](const Node* a, const Node* b) { return a->info.node_rank < b->info.node_rank; });
  if (members.size() > static_cast<size_t>(options_.max_nodes))
    members.resize(static_cast<size_t>(options_.max_nodes));

  Assignment shared{
      .restart_count = starts_++, .group_size = static_cast<int>(members.size()), .world_size = 0};
  std::map<std::string, int> role_sizes, role_ranks;
  for (const Node* node : members) {
    shared.world_size += node->info.processes;
    role_sizes[node->info.role] += node->info.processes;
  }
  shared.master_addr = members.front()->info.address;
  shared.master_port = members.front()->info.port;
  phase_ = Phase::running;
  cause_.reset();
  exit_code_ = 0;
  for (Node* node : members) {
    Assignment own = shared;
    own.group_rank = shared.group_rank++;
    own.first_rank = shared.first_rank;
    shared.first_rank += node->info.processes;
    own.first_role_rank = role_ranks[node->info.role];
    role_ranks[node->info.role] += node->info.processes;
    own.role_world_size = role_sizes[node->info.role];
    node->state = State::running;
    node->link->start(own);
    if (phase_ != Phase::running) return;  // it failed at once
  }
}

void Coordinator::failed(NodeLink* link, const WorkerFailure& failure, Time now) {
  if (phase_ != Phase::running || !find(link)) return;
  const bool own_fault = failure.own_fault || failure.exit_code != peer_code();
  if (cause_ && !own_fault) return;
  if (!cause_) decide_at_ = now + kCauseWindow;
  cause_ = failure;
  if (own_fault) decide(now);
}

void Coordinator::decide(Time now) {
  const WorkerFailure cause = *cause_;
  cause_.reset();
  if (restarts_used_ >= options_.max_restarts || !restart_helps_(cause))
    return end_all({.exit_code = cause.exit_code, .message = "", .failure = cause});
  ++restarts_used_;
  stop_all(fmt::format("{}\n  starting again ({} of {} restarts)", cause.report(), restarts_used_,
                       options_.max_restarts),
           now);
}

void Coordinator::succeeded(NodeLink* link, int exit_code, Time now) {
  Node* node = find(link);
  if (!node || phase_ != Phase::running) return;
  node->state = State::done;
  exit_code_ = std::max(exit_code_, exit_code);
  if (count(State::running) == 0 && !cause_)
    end_all({.exit_code = exit_code_,
             .message = exit_code_ ? "some images failed; see above" : "",
             .failure = {}});
  (void)now;
}

int Coordinator::members_left() const { return static_cast<int>(nodes_.size()); }

void Coordinator::lost(NodeLink* link, const std::string& why, Time now) {
  const auto found =
      std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.link == link; });
  if (found == nodes_.end()) return;
  const Node gone = *found;
  nodes_.erase(found);
  if (phase_ == Phase::over || (phase_ == Phase::running && gone.state == State::waiting)) return;
  if (phase_ == Phase::gathering) {
    log::warning("launch: host {} {}", gone.info.host, why);
    return start_if_complete(now);
  }
  if (phase_ == Phase::running && gone.state == State::done) return;
  cause_.reset();  // what its peers say of it is a consequence
  if (members_left() < options_.min_nodes)
    return end_all({.exit_code = peer_code(),
                    .message = "",
                    .failure = WorkerFailure{
                        .host = gone.info.host,
                        .exit_code = peer_code(),
                        .message = fmt::format("(node rank {}, {}) {}. {} of {} machines are left, "
                                               "and --nnodes wants at least {}",
                                               gone.info.node_rank, gone.info.address, why, members_left(),
                                               members_left() + 1, options_.min_nodes),
                        .time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())}});
  const std::string message = fmt::format("host {} ({}) {}; the job goes on with {} machines", gone.info.host,
                                          gone.info.address, why, members_left());
  if (phase_ == Phase::running) return stop_all(message, now);
  log::warning("launch: {}", message);
  start_if_complete(now);
}

void Coordinator::interrupted(NodeLink* link, int signal, Time now) {
  Node* node = find(link);
  if (!node) return;
  // An elastic job survives the leaving of a machine, which a scheduler announces by SIGTERM. The first node
  // is the host of the rendezvous.
  const bool leaves =
      signal == SIGTERM && node != &nodes_.front() && members_left() - 1 >= options_.min_nodes;
  if (leaves) return lost(link, "was told to leave by SIGTERM", now);
  end_all({.exit_code = 128 + signal,
           .message = fmt::format("stopped by {} on host {}", signal_name(signal), node->info.host),
           .failure = {}});
}

void Coordinator::stop_all(const std::string& why, Time now) {
  phase_ = Phase::stopping;
  stop_deadline_ = now + to_clock(options_.grace_period) + kStopSlack;
  std::vector<NodeLink*> links;
  for (Node& node : nodes_) {
    if (node.state == State::waiting) continue;
    node.state = State::stopping;
    links.push_back(node.link);
  }
  for (NodeLink* link : links) link->stop(why);
}

void Coordinator::end_all(const Outcome& outcome) {
  phase_ = Phase::over;
  outcome_ = outcome;
  std::vector<NodeLink*> links;
  for (const Node& node : nodes_) links.push_back(node.link);
  for (NodeLink* link : links) link->end(outcome);
}

std::string Coordinator::who_is_missing() const {
  std::string there, missing;
  for (const Node& node : nodes_)
    there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", node.info.host, node.info.address);
  if (!options_.rendezvous.dynamic)
    for (int rank = 0; rank < options_.max_nodes; ++rank)
      if (std::none_of(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.info.node_rank == rank; }))
        missing += fmt::format("{}{}", missing.empty() ? "; missing: node rank " : ", ", rank);
  return fmt::format("here: {}{}", there, missing);
}

std::string Coordinator::waiting_text(Time now) const {
  const Rendezvous& r = options_.rendezvous;
  const Seconds left = std::max(Clock::duration::zero(), last_call_.value_or(join_deadline_) - now);
  return fmt::format("{} of {} machines have come to {} ({}); {:.0f} s more{}", nodes_.size(),
                     last_call_ ? options_.max_nodes : options_.min_nodes,
                     net::Endpoint{.host = r.host, .port = r.port}.text(), who_is_missing(), left.count(),
                     last_call_ ? " for others, then the job starts with these" : "");
}

void Coordinator::tick(Time now) {
  if (phase_ == Phase::running && cause_ && now >= decide_at_) return decide(now);
  if (phase_ == Phase::stopping && now >= stop_deadline_) {
    for (const Node& node : nodes_)
      if (node.state == State::stopping) return lost(node.link, "did not end its processes in time", now);
  }
  if (phase_ != Phase::gathering) return;
  start_if_complete(now);
  if (phase_ != Phase::gathering) return;
  if ((last_call_ || now < join_deadline_) && notice_.due(now))
    log::info("launch: waiting: {}", waiting_text(now));
  if (now >= join_deadline_ && !last_call_)
    end_all({.exit_code = peer_code(),
             .message = fmt::format(
                 "{} of {} machines came within {:g} s ({}). Is diffract launch running on each, and "
                 "does each reach port {} of {}?",
                 nodes_.size(), options_.min_nodes, options_.rendezvous.join_timeout.count(),
                 who_is_missing(), options_.rendezvous.port, options_.rendezvous.host),
             .failure = {}});
}

}  // namespace diffract::launch
