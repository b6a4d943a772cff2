#pragma once
#include <list>
#include <memory>

#include "diffract/launch/connection.h"
#include "diffract/launch/coordinator.h"
#include "diffract/net/network.h"

namespace diffract::launch {

/// The host's side of a rendezvous: takes connections of other nodes' agents and stands for each before the
/// coordinator. A connection that does not begin with a right join is closed.
class RendezvousHost {
 public:
  RendezvousHost(Reactor& reactor, const LaunchOptions& options, Coordinator& coordinator,
                 net::Listener listener);
  ~RendezvousHost();
  RendezvousHost(const RendezvousHost&) = delete;
  RendezvousHost& operator=(const RendezvousHost&) = delete;

  /// Sends beats and notes who is silent; every beat interval.
  void beat();
  /// Sends what waits, and closes.
  void finish();

 private:
  class Guest;
  void accept();

  Reactor& reactor_;
  const LaunchOptions& options_;
  Coordinator& coordinator_;
  net::Listener listener_;
  std::list<std::unique_ptr<Guest>> guests_;
  Reactor::Clock::time_point beaten_ = Reactor::Clock::now();
};

}  // namespace diffract::launch
