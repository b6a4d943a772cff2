#include "diffract/launch/rendezvous_guest.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/messages.h"

namespace diffract::launch {
namespace {

using Clock = Reactor::Clock;

// Short, because the loop stands still meanwhile; tried again until the join timeout.
constexpr std::chrono::milliseconds kConnectLimit{1000}, kRetryPause{300}, kFinishLimit{1000};
constexpr int kMostTurnedAway = 20;  // connections that are closed before a welcome

int peer_code() { return error_info(ErrorKind::peer).exit_code; }

}  // namespace

RendezvousGuest::RendezvousGuest(Reactor& reactor, const LaunchOptions& options, NodeInfo info,
                                 std::function<uint16_t(const std::string&)> reserve_port, NodeLink& node)
    : reactor_(reactor),
      options_(options),
      info_(std::move(info)),
      reserve_port_(std::move(reserve_port)),
      node_(node),
      host_{.host = options.rendezvous.host, .port = options.rendezvous.port},
      join_deadline_(Clock::now() +
                     std::chrono::duration_cast<Clock::duration>(options.rendezvous.join_timeout)) {
  reactor_.after({}, [this] { connect(); });
}

void RendezvousGuest::end(int exit_code, const std::string& message, std::optional<WorkerFailure> failure) {
  if (std::exchange(over_, true)) return;
  node_.end({.exit_code = exit_code, .message = message, .failure = std::move(failure)});
}

void RendezvousGuest::connect() {
  if (over_) return;
  const std::string who = "launch on " + info_.host;
  try {
    auto attempt = net::try_to_connect(host_, net::Deadline(kConnectLimit), who);
    if (attempt.connection) return join(std::move(attempt.connection));
    say_that_it_waits(attempt.resolved ? attempt.reason
                                       : fmt::format("the name does not resolve: {}", attempt.reason));
    retry(net::cannot_connect(host_, who, ": " + attempt.reason));
  } catch (const PeerError& error) {
    end(peer_code(), error.what());
  }
}

void RendezvousGuest::join(FileDescriptor socket) {
  connection_ = std::make_unique<Connection>(
      reactor_, std::move(socket),
      Connection::Events{.message = [this](const Json& message) { take(message); },
                         .closed = [this](const std::string& reason) { host_lost(reason); }});
  if (info_.address.empty()) info_.address = connection_->local_address();
  if (info_.port == 0) info_.port = reserve_port_(info_.address);
  connection_->send(join_message(info_, options_.rendezvous.id));
}

// At once for a reason that is new, and at times.
void RendezvousGuest::say_that_it_waits(const std::string& reason) {
  const auto now = Clock::now();
  const bool is_new = said_.insert(reason).second, is_due = notice_.due(now);
  if (!is_new && !is_due) return;
  log::info("launch: waiting for the first machine at {} ({}), {:.0f} s more", host_.text(), reason,
            std::max(Seconds(join_deadline_ - now).count(), 0.0));
}

void RendezvousGuest::retry(const std::string& reason) {
  if (Clock::now() >= join_deadline_)
    return end(peer_code(), fmt::format("no rendezvous within {:g} s. {}",
                                        options_.rendezvous.join_timeout.count(), reason));
  log::debug("launch: {}", reason);
  reactor_.after(kRetryPause, [this] { connect(); });
}

void RendezvousGuest::host_lost(const std::string& why) {
  if (over_) return;
  if (!joined_) {
    const std::string reason = fmt::format("{} answered, but {}", host_.text(), why);
    // Another program listens there, or the host is full, or just going; the last two pass.
    if (++turned_away_ < kMostTurnedAway && why.find("launch does not") == std::string::npos)
      return retry(reason);
    return end(peer_code(), fmt::format("{}. Is it diffract launch that listens on port {} of {}?", reason,
                                        host_.port, host_.host));
  }
  end(peer_code(), "",
      WorkerFailure{.host = host_.host,
                    .exit_code = peer_code(),
                    .message = fmt::format("({}, the host of the rendezvous) {}", host_.text(), why),
                    .time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())});
}

void RendezvousGuest::take(const Json& message) {
  if (over_) return;
  const ConfigReader read(message, "a message");
  const std::string type = read.text("type");
  if (type == "welcome") {
    joined_ = true;
  } else if (type == "refused") {
    end(error_info(ErrorKind::usage).exit_code, read.text("why"));
  } else if (type == "start") {
    started_ = true;
    node_.start(read_start(message));
  } else if (type == "stop") {
    started_ = false;  // it waits for the others once more
    notice_ = WaitNotice(Clock::now());
    node_.stop(read.text("why"));
  } else if (type == "end") {
    const Outcome outcome = read_end(message);
    end(outcome.exit_code, outcome.message, outcome.failure);
  } else if (type != "beat") {
    throw CheckpointError("unknown type {}", type);
  }
}

void RendezvousGuest::send(const Json& message) {
  if (connection_ && joined_) connection_->send(message);
}

void RendezvousGuest::ready(uint16_t port) { send(simple_message("ready", "port", port)); }

void RendezvousGuest::failed(const WorkerFailure& failure) {
  Json message = failure.to_json();
  message["type"] = "failed";
  send(message);
}

void RendezvousGuest::succeeded(int exit_code) { send(simple_message("succeeded", "exit_code", exit_code)); }

void RendezvousGuest::interrupted(int signal) {
  send(simple_message("interrupted", "signal", signal));
  if (!joined_) end(128 + signal, "stopped while it waited for the rendezvous");
}

void RendezvousGuest::beat() {
  const auto now = Clock::now();
  const bool paused = now - std::exchange(beaten_, now) > options_.rendezvous.silence / 2;
  if (!connection_ || over_) return;
  if (paused) connection_->excuse();
  const Seconds silence = now - connection_->last_heard();
  if (silence > options_.rendezvous.silence) {
    const std::string why = fmt::format("was lost: no word for {:.1f} s", silence.count());
    if (joined_) return host_lost(why);
    connection_.reset();
    return host_lost("gave no answer");
  }
  send({{"type", "beat"}});
  if (joined_ && !started_ && notice_.due(now))
    log::info("launch: {} is reached; waiting there for the other machines of the job", host_.text());
}

void RendezvousGuest::finish() {
  if (connection_) connection_->finish(kFinishLimit);
}

}  // namespace diffract::launch
