#include "diffract/launch/local_node.h"

#include <csignal>
#include <ctime>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/machine.h"
#include "diffract/launch/process.h"

namespace diffract::launch {
namespace {

// After so long a stop is spoken of before its end.
constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::milliseconds kFlushLimit{500};
// Not a promise: latents, a drawn seed and a single picture cannot be gone on with, and only generate knows.
constexpr const char* kHowToGoOn = "; where pictures are finished, --resume goes on with the others";

}  // namespace

LocalNode::LocalNode(Reactor& reactor, Consoles consoles, const LaunchOptions& options,
                     const Program& program)
    : reactor_(reactor),
      consoles_(consoles),
      options_(options),
      generate_(program.generate),
      workers_(reactor, consoles, options, program,
               {.failed = [this](const WorkerFailure& failure) { uplink_->failed(failure); },
                .succeeded = [this](int code) { uplink_->succeeded(code); },
                .stopped = [this] { processes_stopped(); }}) {}

NodeInfo LocalNode::info(const std::string& address) {
  return {.host = host_name(),
          .address = address,
          .role = options_.role,
          .processes = options_.processes,
          .node_rank = options_.node_rank,
          .port = address.empty() ? uint16_t{0} : reserve_port(address),
          .min_nodes = options_.min_nodes,
          .max_nodes = options_.max_nodes};
}

uint16_t LocalNode::reserve_port(const std::string& address) {
  address_ = address;
  port_ = PortReservation();
  const char* option =
      options_.max_nodes > 1 && !options_.local_addr.empty() ? "--local-addr" : "--master-addr";
  // On one machine diffract's store is on the loopback address, whatever --master-addr says.
  const std::string where = options_.max_nodes == 1 ? "127.0.0.1" : address;
  if (options_.max_nodes == 1 && options_.master_port != 0) {
    if (address == where || PortReservation(address, options_.master_port, option))
      port_ = PortReservation(where, options_.master_port, option);
    if (port_) return port_.port();
  } else if (address != where) {
    PortReservation(address, 0, option);  // throws when it is no address of this machine
  }
  const uint16_t wanted = is_first_ ? options_.store_port : uint16_t{0};
  port_ = PortReservation(where, wanted, option);
  if (!port_ && wanted != 0)
    throw PeerError("port {} of {} is in use by another program. Give another --store-port", wanted, where);
  if (!port_) throw PeerError("no free port on {} for the store", where);
  if (options_.max_nodes == 1 && options_.master_port != 0) {
    const std::string message = fmt::format("launch: port {} of {} is in use; MASTER_PORT is {} instead",
                                            options_.master_port, address, port_.port());
    if (options_.master_port_given)
      log::warning("{}", message);
    else
      log::info("{}", message);
  }
  return port_.port();
}

void LocalNode::start(const Assignment& assignment) {
  if (outcome_ || interrupted_by_) return;
  if (assignment.group_rank != 0) port_ = PortReservation();  // the store is on another node
  try {
    workers_.start(assignment);
    was_started_ = true;
  } catch (const Error& error) {  // none runs
    const WorkerFailure failure{.host = host_name(),
                                .rank = assignment.first_rank,
                                .local_rank = 0,
                                .exit_code = error_info(error.kind()).exit_code,
                                .message = fmt::format("was not started: {}", error.what()),
                                .time = ::time(nullptr)};
    // Not from here: the order to start again would come before this one has returned, and so on.
    reactor_.after({}, [this, failure] { uplink_->failed(failure); });
  }
}

void LocalNode::stop(const std::string& why) {
  if (outcome_) return;
  say_at_the_end(log::Level::warning, "launch: " + why);
  workers_.stop(SIGTERM);
}

void LocalNode::say_at_the_end(log::Level level, const std::string& text) {
  say_now();  // of an earlier stop
  level_ = level;
  unsaid_ = text;
  reactor_.after(kPatience, [this, text] {
    if (unsaid_ == text) log::info("{}; waiting for the processes to end", text.substr(0, text.find('\n')));
  });
}

void LocalNode::say_now() {
  if (unsaid_.empty()) return;
  consoles_.out.flush(kFlushLimit);
  consoles_.err.flush(kFlushLimit);  // the processes' own words come before
  log::write(level_, std::exchange(unsaid_, ""));
}

void LocalNode::end(const Outcome& outcome) {
  if (outcome_) return;
  outcome_ = outcome;
  if (outcome.failure) {
    say_at_the_end(log::Level::error, "launch: " + outcome.failure->report());
    pass_on_error_file(*outcome.failure);
  } else if (!outcome.message.empty()) {
    say_at_the_end(log::Level::error,
                   fmt::format("launch: {}{}", outcome.message, was_interrupted_at_work() ? kHowToGoOn : ""));
  }
  if (workers_.active())
    workers_.stop(SIGTERM);
  else
    finish();
}

void LocalNode::interrupt(int signal) {
  if (interrupted_by_) return workers_.kill();
  interrupted_by_ = signal;
  log::info("launch: {}: the processes have {:g} s to end; a second signal ends them at once",
            signal_name(signal), options_.grace_period.count());
  if (workers_.active()) workers_.stop(signal);
  uplink_->interrupted(signal);
  if (!workers_.active()) processes_stopped();
}

void LocalNode::processes_stopped() {
  say_now();
  if (outcome_ || interrupted_by_) return finish();
  uplink_->ready(reserve_port(address_));
}

void LocalNode::finish() {
  say_now();
  const bool well = outcome_ && outcome_->exit_code == 0;
  if (well || (outcome_ && !outcome_->failure) || !outcome_) workers_.discard_logs();
  finished_ = outcome_ ? outcome_->exit_code : 128 + interrupted_by_;
}

}  // namespace diffract::launch
