#include "diffract/launch/agent.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/coordinator.h"
#include "diffract/launch/descendants.h"
#include "diffract/launch/guard.h"
#include "diffract/launch/local_node.h"
#include "diffract/launch/machine.h"
#include "diffract/launch/rendezvous_guest.h"
#include "diffract/launch/rendezvous_host.h"

namespace diffract::launch {
namespace {

using Clock = Reactor::Clock;

constexpr std::chrono::milliseconds kTick{50};
constexpr std::chrono::seconds kKillLimit{5};

// The local node's reports, when the coordinator is in this process.
class DirectUplink : public Uplink {
 public:
  DirectUplink(Coordinator& coordinator, NodeLink& node) : coordinator_(coordinator), node_(node) {}
  void ready(uint16_t port) override { coordinator_.ready(&node_, port, Clock::now()); }
  void failed(const WorkerFailure& failure) override { coordinator_.failed(&node_, failure, Clock::now()); }
  void succeeded(int exit_code) override { coordinator_.succeeded(&node_, exit_code, Clock::now()); }
  void interrupted(int signal) override { coordinator_.interrupted(&node_, signal, Clock::now()); }

 private:
  Coordinator& coordinator_;
  NodeLink& node_;
};

// What generate says of a wrong option, a damaged model or a full disk holds the next time, too, and so does
// that a program cannot be executed.
bool restart_helps(const Program& program, const WorkerFailure& failure) {
  const bool was_started = failure.pid != 0 || failure.rank < 0;
  if (!program.generate && was_started) return true;
  const auto is = [&](ErrorKind kind) { return failure.exit_code == error_info(kind).exit_code; };
  return !is(ErrorKind::usage) && !is(ErrorKind::checkpoint) && !is(ErrorKind::io);
}

// The address to listen on when this machine is to be the host: the one that the endpoint names. A machine's
// own name often stands for a loopback address in its /etc/hosts, by which the others cannot reach it.
std::optional<std::string> own_address(const LaunchOptions& options) {
  const Rendezvous& r = options.rendezvous;
  for (const std::string& address : net::resolve(r.host)) {
    if (!net::is_local(address)) continue;
    const bool meant = r.host == "localhost" || r.host == address;
    if (!net::is_loopback(address) || meant) return address;
    return options.local_addr.empty() ? net::network_address().value_or(address) : options.local_addr;
  }
  return std::nullopt;
}

// The listener of the rendezvous, if this node is to be its host.
std::optional<net::Listener> try_to_host(const LaunchOptions& options) {
  const Rendezvous& r = options.rendezvous;
  const std::string who = "launch on " + host_name();
  if (!r.dynamic && options.node_rank != 0) return std::nullopt;
  if (r.dynamic && r.is_host == false) return std::nullopt;
  const auto address = own_address(options);
  if (r.dynamic && r.is_host != true && !address) return std::nullopt;
  try {
    return net::listen_on({.host = address.value_or(r.host), .port = r.port}, who);
  } catch (const net::PortInUse&) {
    if (r.dynamic && r.is_host != true) return std::nullopt;  // another agent of this machine came first
    throw PeerError(
        "{}: port {} of {} is in use by another program. Give all {} machines another --master-port or "
        "--rdzv-endpoint",
        who, r.port, address.value_or(r.host), options.max_nodes);
  }
}

class Agent {
 public:
  Agent(const LaunchOptions& options, const Program& program)
      : options_(options), program_(program), node_(reactor_, {out_, err_}, options, program) {}

  int run(int lifeline) {
    const FileDescriptor signals(open_signals());
    reactor_.watch(signals.get(), POLLIN, [&](short) {
      while (const int signal = read_signal(signals.get())) take_signal(signal);
    });
    reactor_.watch(lifeline, POLLIN, [this](short) { die(); });
    reactor_.every(std::chrono::duration_cast<Clock::duration>(options_.monitor_interval),
                   [this] { node_.workers().look_for_hangs(); });
    join();
    while (!node_.finished()) {
      reactor_.run_once(kTick);
      if (coordinator_) coordinator_->tick(Clock::now());
    }
    if (host_) host_->finish();
    if (guest_) guest_->finish();
    return *node_.finished();
  }

 private:
  void join() {
    if (options_.max_nodes == 1) return join_own(options_.master_addr);
    if (auto listener = try_to_host(options_)) {
      const std::string address = options_.local_addr.empty() ? listener->at.host : options_.local_addr;
      make_coordinator();
      host_ = std::make_unique<RendezvousHost>(reactor_, options_, *coordinator_, std::move(*listener));
      reactor_.every(beat_interval(), [this] { host_->beat(); });
      return join_own(address);
    }
    guest_ = std::make_unique<RendezvousGuest>(
        reactor_, options_, node_.info(options_.local_addr),
        [this](const std::string& address) { return node_.reserve_port(address); }, node_);
    node_.set_uplink(guest_.get());
    reactor_.every(beat_interval(), [this] { guest_->beat(); });
  }

  void join_own(const std::string& address) {
    if (!coordinator_) make_coordinator();
    direct_ = std::make_unique<DirectUplink>(*coordinator_, node_);
    node_.set_uplink(direct_.get());
    node_.be_first();
    coordinator_->joined(&node_, node_.info(address), Clock::now());
  }

  void make_coordinator() {
    coordinator_ = std::make_unique<Coordinator>(
        options_, [this](const WorkerFailure& failure) { return restart_helps(program_, failure); },
        Clock::now());
  }

  Clock::duration beat_interval() const {
    return std::chrono::duration_cast<Clock::duration>(options_.rendezvous.beat_interval);
  }

  void take_signal(int signal) {
    if (signal == SIGCHLD)
      node_.workers().reap();
    else if (signal == SIGUSR1 || signal == SIGUSR2)
      node_.workers().signal(signal);
    else
      node_.interrupt(signal);
  }

  // Who started the launcher killed it: nothing may be left, and nobody waits for an exit code.
  [[noreturn]] void die() {
    kill_descendants(kKillLimit);
    node_.workers().discard_logs();
    ::_exit(128 + SIGKILL);
  }

  const LaunchOptions& options_;
  const Program& program_;
  Reactor reactor_;
  Console out_{reactor_, STDOUT_FILENO}, err_{reactor_, STDERR_FILENO};
  LocalNode node_;
  std::unique_ptr<Coordinator> coordinator_;  // on the host of the rendezvous
  std::unique_ptr<DirectUplink> direct_;
  std::unique_ptr<RendezvousHost> host_;
  std::unique_ptr<RendezvousGuest> guest_;  // on the other nodes
};

}  // namespace

int run_agent(const LaunchOptions& options, const Program& program, int lifeline) {
  return Agent(options, program).run(lifeline);
}

}  // namespace diffract::launch
