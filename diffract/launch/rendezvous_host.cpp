#include "diffract/launch/rendezvous_host.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/launch/messages.h"

namespace diffract::launch {
namespace {

using Clock = Reactor::Clock;

constexpr size_t kMostStrangers = 256;  // connections that have not joined
constexpr std::chrono::seconds kJoinLimit{5};
constexpr std::chrono::milliseconds kFinishLimit{1000};

}  // namespace

// Another node as the coordinator sees it.
class RendezvousHost::Guest : public NodeLink {
 public:
  Guest(Reactor& reactor, FileDescriptor socket, const LaunchOptions& options, Coordinator& coordinator)
      : options_(options),
        coordinator_(coordinator),
        connection_(reactor, std::move(socket),
                    {.message = [this](const Json& message) { take(message); },
                     .closed = [this](const std::string& reason) { leave(reason); }}) {}

  void start(const Assignment& assignment) override { connection_.send(start_message(assignment)); }
  void stop(const std::string& why) override { connection_.send(simple_message("stop", "why", why)); }
  void end(const Outcome& outcome) override { connection_.send(end_message(outcome)); }

  void beat(Clock::time_point now, bool paused) {
    if (paused) connection_.excuse();
    if (gone_) return;
    const Seconds silence = now - connection_.last_heard();
    if (!joined_) {
      if (now - begun_ > kJoinLimit) gone_ = true;
      return;
    }
    if (silence > options_.rendezvous.silence)
      return leave(fmt::format("was lost: no word for {:.1f} s", silence.count()));
    connection_.send({{"type", "beat"}});
  }
  void finish() { connection_.finish(kFinishLimit); }
  bool joined() const { return joined_; }
  bool gone() const { return gone_; }

 private:
  void take(const Json& message) {
    if (gone_) return;
    const std::string type = ConfigReader(message, "a message").text("type");
    const auto now = Clock::now();
    if (!joined_) {
      if (type != "join") throw CheckpointError("the first message is no join");
      join(message, now);
    } else if (type == "ready") {
      coordinator_.ready(this, static_cast<uint16_t>(ConfigReader(message, type).integer("port", 1, 65535)),
                         now);
    } else if (type == "failed") {
      coordinator_.failed(this, WorkerFailure::from_json(message, type), now);
    } else if (type == "succeeded") {
      const int code = static_cast<int>(ConfigReader(message, type).integer("exit_code", 0, 255));
      coordinator_.succeeded(this, code, now);
    } else if (type == "interrupted") {
      coordinator_.interrupted(this, static_cast<int>(ConfigReader(message, type).integer("signal", 1, 64)),
                               now);
    } else if (type != "beat") {
      throw CheckpointError("unknown type {}", type);
    }
  }

  void join(const Json& message, Clock::time_point now) {
    try {
      const NodeInfo info = read_join(message, options_.rendezvous.id);
      joined_ = true;
      connection_.send({{"type", "welcome"}});
      coordinator_.joined(this, info, now);
    } catch (const UsageError& error) {
      log::warning("launch: refused: {}", error.what());
      connection_.send(simple_message("refused", "why", error.what()));
      joined_ = false;
    }
  }

  void leave(const std::string& why) {
    if (std::exchange(gone_, true) || !joined_) return;
    coordinator_.lost(this, why, Clock::now());
  }

  const LaunchOptions& options_;
  Coordinator& coordinator_;
  Clock::time_point begun_ = Clock::now();
  bool joined_ = false, gone_ = false;
  Connection connection_;
};

RendezvousHost::RendezvousHost(Reactor& reactor, const LaunchOptions& options, Coordinator& coordinator,
                               net::Listener listener)
    : reactor_(reactor), options_(options), coordinator_(coordinator), listener_(std::move(listener)) {
  ::fcntl(listener_.socket.get(), F_SETFL, O_NONBLOCK);
  reactor_.watch(listener_.socket.get(), POLLIN, [this](short) { accept(); });
}

RendezvousHost::~RendezvousHost() { reactor_.forget(listener_.socket.get()); }

void RendezvousHost::accept() {
  FileDescriptor socket(::accept4(listener_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  std::erase_if(guests_, [](const auto& guest) { return guest->gone(); });
  const auto strangers =
      std::count_if(guests_.begin(), guests_.end(), [](const auto& g) { return !g->joined(); });
  if (static_cast<size_t>(strangers) >= kMostStrangers) return;  // closed; a real agent comes again
  guests_.push_back(std::make_unique<Guest>(reactor_, std::move(socket), options_, coordinator_));
}

void RendezvousHost::beat() {
  const auto now = Clock::now();
  // When this process itself did not run for a while, the silence of others proves nothing.
  const bool paused = now - std::exchange(beaten_, now) > options_.rendezvous.silence / 2;
  std::erase_if(guests_, [](const auto& guest) { return guest->gone(); });
  for (const auto& guest : guests_) guest->beat(now, paused);
}

void RendezvousHost::finish() {
  for (const auto& guest : guests_) guest->finish();
}

}  // namespace diffract::launch
