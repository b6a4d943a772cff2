#pragma once
#include <memory>
#include <optional>

#include "diffract/core/log.h"
#include "diffract/launch/coordinator.h"
#include "diffract/launch/port_reservation.h"
#include "diffract/launch/uplink.h"
#include "diffract/launch/worker_group.h"

namespace diffract::launch {

/// This node: carries out the coordinator's orders on its processes and reports what becomes of them.
class LocalNode : public NodeLink {
 public:
  LocalNode(Reactor& reactor, Consoles consoles, const LaunchOptions& options, const Program& program);

  /// Must be called before any order comes.
  void set_uplink(Uplink* uplink) { uplink_ = uplink; }
  /// This is the host of the rendezvous, whose first process serves the store. To be called before info().
  void be_first() { is_first_ = true; }
  /// What joins the job. `address` may be empty; then no port is reserved yet.
  NodeInfo info(const std::string& address);
  /// Reserves the port for the store, should rank 0 be here, and gives it. Throws PeerError when there is
  /// none.
  uint16_t reserve_port(const std::string& address);

  void start(const Assignment& assignment) override;
  void stop(const std::string& why) override;
  void end(const Outcome& outcome) override;

  /// SIGINT and its like: the first stops the processes, the second at once.
  void interrupt(int signal);
  WorkerGroup& workers() { return workers_; }
  /// The exit code, when the job is over and nothing of it is left here.
  std::optional<int> finished() const { return finished_; }

 private:
  void processes_stopped();
  bool was_interrupted_at_work() const { return interrupted_by_ && generate_ && was_started_; }
  void finish();
  /// `text` is for the user once the processes have ended, so that it is the last that is read; its first
  /// line also before, when they take long.
  void say_at_the_end(log::Level level, const std::string& text);
  void say_now();

  Reactor& reactor_;
  Consoles consoles_;
  const LaunchOptions& options_;
  bool generate_, is_first_ = false;
  bool was_started_ = false;  // its workers, once at least
  Uplink* uplink_ = nullptr;
  PortReservation port_;
  std::string address_;
  std::optional<Outcome> outcome_;
  log::Level level_ = log::Level::warning;
  std::string unsaid_;
  int interrupted_by_ = 0;
  std::optional<int> finished_;
  WorkerGroup workers_;
};

}  // namespace diffract::launch
