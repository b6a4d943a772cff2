#include "diffract/distributed/store.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <fmt/ranges.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStoreBackend.hpp>

#include "diffract/net/peer_names.h"

C10_DECLARE_int(caffe2_log_level);

namespace diffract::distributed {
namespace {

using std::chrono::milliseconds;

// c10d's server drops a connection that sends more.
constexpr size_t kMaxValueBytes = (8 << 20) - 1;

// A reply comes at once from a server that is alive; a stopped one is not waited for longer than this.
milliseconds reply_timeout(milliseconds timeout) {
  return std::clamp<milliseconds>(timeout, milliseconds(100), std::chrono::seconds(10));
}

// c10d writes a line, often with a stack trace, about every wait that ends early. What matters of it is in
// our errors. TORCH_CPP_LOG_LEVEL brings the lines back.
void quiet_c10d() {
  if (std::getenv("TORCH_CPP_LOG_LEVEL"))
    c10::initLogging();
  else
    FLAGS_caffe2_log_level = c10::GLOG_FATAL;
}

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string text(const std::vector<uint8_t>& value) { return {value.begin(), value.end()}; }
std::string first_line(const c10::Error& error) {
  const std::string what = error.what_without_backtrace();
  return what.substr(0, what.find('\n'));
}

// True when what listens there greets as c10d's store does. c10d's own client would wait for a mute server
// without end.
bool greets_as_store(int socket, milliseconds timeout) {
  using ::c10d::detail::QueryType;
  const timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = (timeout.count() % 1000) * 1000};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct __attribute__((packed)) {
    QueryType validate = QueryType::VALIDATE;
    uint32_t magic = ::c10d::detail::validationMagicNumber;
    QueryType ping = QueryType::PING;
    uint32_t nonce = std::random_device()();
  } hello;
  uint32_t reply = 0;
  return ::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello &&
         ::recv(socket, &reply, sizeof reply, MSG_WAITALL) == sizeof reply && reply == hello.nonce;
}

}  // namespace

struct Store::Connection {
  c10::intrusive_ptr<::c10d::TCPStore> store;
  net::Endpoint at;
  milliseconds timeout;
  // After a failed send or receive the two ends may disagree on what comes next.
  std::atomic<bool> broken = false;
};

template <typename Call>
auto Store::guarded(const char* doing, const std::string& key, Call&& call) const {
  if (connection_->broken) fail_lost(doing, key, "the connection failed before");
  try {
    return call();
  } catch (const c10::Error& error) {
    connection_->broken = true;
    fail_lost(doing, key, first_line(error));
  }
}

void Store::fail_lost(const char* doing, const std::string& key, const std::string& reason) const {
  throw PeerError(
      "{}: lost the store at {} (host {}, port {}) while {}{}: {}. Is the process that serves it (rank 0 or "
      "the "
      "launcher) still running there?",
      who_, endpoint().text(), endpoint().host, endpoint().port, doing,
      key.empty() ? "" : fmt::format(" \"{}\"", key), reason);
}

Store Store::open(const net::Endpoint& at, StoreOptions options, ::c10d::TCPStoreOptions settings) {
  static std::once_flag quiet;
  std::call_once(quiet, quiet_c10d);
  net::keep_peers_numeric();
  settings.port = at.port;
  settings.waitWorkers = false;
  auto connection = std::make_shared<Connection>();
  connection->at = at;
  connection->timeout = options.timeout;
  Store opened(std::move(connection), std::move(options.who));
  opened.connection_->store = opened.guarded(
      "connecting", "", [&] { return c10::make_intrusive<::c10d::TCPStore>(at.host, settings); });
  net::bound_waits(at, reply_timeout(options.timeout));
  return opened;
}

Store Store::serve(const net::Endpoint& at, StoreOptions options) {
  net::Listener listener = net::listen_on(at, options.who);
  // c10d's own client would try in silence until the timeout where nothing can be reached.
  net::try_to_connect(listener.at, net::Deadline(options.timeout), options.who);
  ::c10d::TCPStoreOptions settings;
  settings.isServer = true;
  settings.timeout = options.timeout;
  settings.masterListenFd = listener.socket.release();  // the server closes it
  return open(listener.at, std::move(options), settings);
}

Store Store::connect(const net::Endpoint& to, StoreOptions options) {
  const net::Deadline deadline(options.timeout);
  net::Endpoint at;
  const FileDescriptor probe = net::connect_to(to, deadline, options.who, &at);
  if (!greets_as_store(probe.get(), std::min(deadline.left(), reply_timeout(options.timeout))))
    throw PeerError(
        "{}: what listens at {} (host {}, port {}) is not the store of a job: another program has the port, "
        "or the process that serves the store is stopped. Set MASTER_PORT to a free one",
        options.who, to.text(), to.host, to.port);
  ::c10d::TCPStoreOptions settings;
  settings.timeout = deadline.left();
  return open(at, std::move(options), settings);
}

std::vector<std::string> Store::prefixed(const std::vector<std::string>& keys) const {
  std::vector<std::string> full(keys.size());
  std::transform(keys.begin(), keys.end(), full.begin(), [&](const auto& key) { return prefix_ + key; });
  return full;
}

void Store::set(const std::string& key, const std::string& value) {
  if (value.size() > kMaxValueBytes)
    throw UsageError("store key \"{}\": its value has {} bytes; a store takes at most {}", key, value.size(),
                     kMaxValueBytes);
  guarded("setting", key, [&] { connection_->store->set(prefix_ + key, bytes(value)); });
}

std::string Store::get(const std::string& key) { return get(key, connection_->timeout); }

std::string Store::get(const std::string& key, milliseconds timeout) {
  wait({key}, timeout);
  return guarded("reading", key, [&] { return text(connection_->store->get(prefix_ + key)); });
}

std::vector<std::string> Store::multi_get(const std::vector<std::string>& keys, milliseconds timeout) {
  wait(keys, timeout);
  return guarded("reading", keys.empty() ? "" : keys.front(), [&] {
    std::vector<std::string> values;
    for (const auto& value : connection_->store->multiGet(prefixed(keys))) values.push_back(text(value));
    return values;
  });
}

void Store::wait(const std::vector<std::string>& keys, milliseconds timeout) {
  if (wait_for(keys, timeout)) return;
  std::vector<std::string> missing;
  for (const auto& key : keys)
    if (!check({key})) missing.push_back(key);
  throw PeerError(
      "{}: nobody set {} in the store at {} (host {}, port {}) within {:.1f} s. Are all ranks running?", who_,
      fmt::join(missing, ", "), endpoint().text(), endpoint().host, endpoint().port,
      std::chrono::duration<double>(timeout).count());
}

bool Store::wait_for(const std::vector<std::string>& keys, milliseconds timeout) {
  return guarded("waiting for", keys.empty() ? "" : keys.front(), [&] {
    try {
      // Zero would mean "without end" to c10d.
      connection_->store->wait(prefixed(keys), std::max(timeout, milliseconds(1)));
      return true;
    } catch (const c10::DistStoreError&) {
      return false;
    }
  });
}

int64_t Store::add(const std::string& key, int64_t amount) {
  return guarded("adding to", key, [&] { return connection_->store->add(prefix_ + key, amount); });
}

std::string Store::compare_set(const std::string& key, const std::string& expected,
                               const std::string& desired) {
  return guarded("setting", key, [&] {
    return text(connection_->store->compareSet(prefix_ + key, bytes(expected), bytes(desired)));
  });
}

bool Store::check(const std::vector<std::string>& keys) {
  return guarded("looking for", keys.empty() ? "" : keys.front(),
                 [&] { return connection_->store->check(prefixed(keys)); });
}

bool Store::delete_key(const std::string& key) {
  return guarded("deleting", key, [&] { return connection_->store->deleteKey(prefix_ + key); });
}

Store Store::another_connection() const {
  Store other = connect(endpoint(), {.who = who_, .timeout = connection_->timeout});
  other.prefix_ = prefix_;
  return other;
}

Store Store::with_prefix(const std::string& prefix) const {
  Store other = *this;
  other.prefix_ += prefix + "/";
  return other;
}

Store Store::named(const std::string& who) const {
  Store other = *this;
  other.who_ = who;
  return other;
}

const net::Endpoint& Store::endpoint() const { return connection_->at; }
milliseconds Store::timeout() const { return connection_->timeout; }

c10::intrusive_ptr<::c10d::Store> Store::c10d() const {
  if (prefix_.empty()) return connection_->store;
  return c10::make_intrusive<::c10d::PrefixStore>(prefix_.substr(0, prefix_.size() - 1), connection_->store);
}

}  // namespace diffract::distributed
