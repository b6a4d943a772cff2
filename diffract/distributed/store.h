#pragma once
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/net/network.h"

namespace c10d {
class Store;
struct TCPStoreOptions;
}  // namespace c10d

namespace diffract::distributed {

/// How long anything waits for its peers unless told otherwise (torch's Gloo default is 30 minutes).
inline constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::minutes(5);

struct StoreOptions {
  std::string who = "this process";  // begins every message, e.g. "rank 1 of 2"
  /// For the connection, for each reply, and for a key that does not come.
  std::chrono::milliseconds timeout = kDefaultTimeout;
};

/// The key-value store through which processes find each other: a thin handle over c10d's TCPStore. One
/// process serves it, all connect to it. Values are small (under 8 MiB); pictures never go through it.
///
/// Copies share one connection, on which a `wait` keeps other calls waiting: a thread of its own takes
/// `another_connection()`. Every call throws PeerError naming who called, the host and the port when the
/// store is lost, does not reply in time, or a key does not come; after a lost or late reply the connection
/// is closed to further calls.
class Store {
 public:
  /// Serves a store on one address of this machine and connects to it; port 0 takes any free port. It lives
  /// as long as the handle and its copies. Throws PortInUse and PeerError.
  static Store serve(const net::Endpoint& at, StoreOptions options = {});
  /// Connects to a store that another process serves, or will serve before the timeout. Throws PeerError,
  /// also when what answers there is no store.
  static Store connect(const net::Endpoint& to, StoreOptions options = {});

  void set(const std::string& key, const std::string& value);
  /// The value of a key, waited for.
  std::string get(const std::string& key);
  std::string get(const std::string& key, std::chrono::milliseconds timeout);
  /// The values of many keys in one exchange, each waited for.
  std::vector<std::string> multi_get(const std::vector<std::string>& keys, std::chrono::milliseconds timeout);
  /// Waits until all keys are there.
  void wait(const std::vector<std::string>& keys, std::chrono::milliseconds timeout);
  /// As `wait`, but false on a timeout.
  bool wait_for(const std::vector<std::string>& keys, std::chrono::milliseconds timeout);
  /// Adds to a counter, which begins at 0, and gives its new value. `add(key, 0)` reads it. A counter's value
  /// reads as decimal text through `get`.
  int64_t add(const std::string& key, int64_t amount);
  /// Sets `key` to `desired` if it holds `expected` (empty: if it is not there), and gives what it holds
  /// then.
  std::string compare_set(const std::string& key, const std::string& expected, const std::string& desired);
  /// True when all keys are there.
  bool check(const std::vector<std::string>& keys);
  /// Removes a key; false when it was not there.
  bool delete_key(const std::string& key);

  /// The same store over a connection of its own, for another thread.
  Store another_connection() const;
  /// The same connection, with every key behind `prefix/`.
  Store with_prefix(const std::string& prefix) const;
  /// The same connection, with another beginning of messages.
  Store named(const std::string& who) const;

  /// The numeric address and the port of the server.
  const net::Endpoint& endpoint() const;
  std::chrono::milliseconds timeout() const;
  const std::string& who() const { return who_; }
  /// For c10d's own use; keys get the prefix.
  c10::intrusive_ptr<::c10d::Store> c10d() const;

 private:
  struct Connection;
  Store(std::shared_ptr<Connection> connection, std::string who)
      : connection_(std::move(connection)), who_(std::move(who)) {}
  static Store open(const net::Endpoint& at, StoreOptions options, ::c10d::TCPStoreOptions settings);
  std::vector<std::string> prefixed(const std::vector<std::string>& keys) const;
  template <typename Call>
  auto guarded(const char* doing, const std::string& key, Call&& call) const;
  [[noreturn]] void fail_lost(const char* doing, const std::string& key, const std::string& reason) const;

  std::shared_ptr<Connection> connection_;
  std::string who_, prefix_;
};

}  // namespace diffract::distributed
