#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "diffract/core/wait_notice.h"
#include "diffract/launch/connection.h"
#include "diffract/launch/coordinator.h"
#include "diffract/launch/uplink.h"
#include "diffract/net/network.h"

namespace diffract::launch {

/// A node's side of a rendezvous whose host is another process: connects, joins, carries reports one way and
/// orders the other, and notices when the host is lost.
class RendezvousGuest : public Uplink {
 public:
  /// `info.address` may be empty: then the address that the connection leaves from is used, and
  /// `reserve_port` is asked for a free port of it. Orders go to `node`; losing the host ends it, too.
  RendezvousGuest(Reactor& reactor, const LaunchOptions& options, NodeInfo info,
                  std::function<uint16_t(const std::string& address)> reserve_port, NodeLink& node);

  void ready(uint16_t port) override;
  void failed(const WorkerFailure& failure) override;
  void succeeded(int exit_code) override;
  void interrupted(int signal) override;

  /// Sends a beat and notes whether the host is silent; every beat interval.
  void beat();
  void finish();
  /// The address by which the host knows this node.
  const std::string& address() const { return info_.address; }

 private:
  void connect();
  void join(FileDescriptor socket);
  void retry(const std::string& reason);
  void say_that_it_waits(const std::string& reason);
  void take(const Json& message);
  void end(int exit_code, const std::string& message, std::optional<WorkerFailure> failure = {});
  void host_lost(const std::string& why);
  void send(const Json& message);

  Reactor& reactor_;
  const LaunchOptions& options_;
  NodeInfo info_;
  std::function<uint16_t(const std::string&)> reserve_port_;
  NodeLink& node_;
  net::Endpoint host_;
  Reactor::Clock::time_point join_deadline_, beaten_ = Reactor::Clock::now();
  std::unique_ptr<Connection> connection_;
  WaitNotice notice_;
  std::set<std::string> said_;  // why there was no connection
  bool joined_ = false, started_ = false, over_ = false;
  int turned_away_ = 0;
};

}  // namespace diffract::launch
