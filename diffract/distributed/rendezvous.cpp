#include "diffract/distributed/rendezvous.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "diffract/core/cpus.h"
#include "diffract/core/json.h"
#include "diffract/core/log.h"
#include "diffract/core/wait_notice.h"

namespace diffract::distributed {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookAround(500);  // between looks at whether another rank has given up
constexpr milliseconds kHearing(15000);   // at most, for the others to hear it

std::string own_pid_namespace() {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/ns/pid", none).string();
}

std::string rank_key(int rank) { return "rank/" + std::to_string(rank); }

std::vector<std::string> rank_keys(int size) {
  std::vector<std::string> keys;
  keys.reserve(static_cast<size_t>(size));
  for (int rank = 0; rank < size; ++rank) keys.push_back(rank_key(rank));
  return keys;
}

// Until all who have come know that the group was given up, unless they are lost. Where all `keys` are there
// none waits any more, and none will hear it.
void wait_until_heard(Store& store, const std::vector<std::string>& keys) {
  const net::Deadline deadline(kHearing);
  try {
    while (!deadline.passed() && store.add("heard", 0) < store.add("came", 0) && !store.check(keys))
      std::this_thread::sleep_for(kLookAround / 10);
  } catch (const PeerError&) {  // the store ended with its process: what is to be said is why it was given up
  }
}

// Ends the wait of all others with `message`. The store may end with this process: all who have come hear it
// first.
[[noreturn]] void give_up(Store& store, const std::vector<std::string>& keys, const std::string& message) {
  store.set("given_up", message);
  store.add("heard", 1);
  wait_until_heard(store, keys);
  throw PeerError("{}", message);
}

void agree_on(Store& store, const std::vector<std::string>& keys, const std::string& what,
              const std::string& ours) {
  const std::string theirs = store.compare_set(what, "", ours);
  if (theirs != ours)
    give_up(store, keys,
            fmt::format("{}: the {} is {} here and {} in another process of the job at {} (host {}, port "
                        "{}). Start all with the same one",
                        store.who(), what, ours, theirs, store.endpoint().text(), store.endpoint().host,
                        store.endpoint().port));
}

void take_rank(Store& store, const std::vector<std::string>& keys, int rank) {
  const Peer self = own_peer();
  const std::string taken = store.compare_set(rank_key(rank), "", to_text(self));
  if (taken != to_text(self))
    give_up(store, keys,
            fmt::format("{}: {} has this rank already in the job at {} (host {}, port {}), and so has pid "
                        "{} on host {}. Give each process a rank of its own",
                        store.who(), parse_peer(taken).text(rank), store.endpoint().text(),
                        store.endpoint().host, store.endpoint().port, self.pid, self.host));
}

std::vector<int> missing_ranks(Store& store, int size) {
  std::vector<int> missing;
  for (int rank = 0; rank < size; ++rank)
    if (!store.check({rank_key(rank)})) missing.push_back(rank);
  return missing;
}

// One process of each host speaks for it: the first rank that has come.
bool speaks_for_host(Store& store, int rank) {
  for (int other = 0; other < rank; ++other)
    if (store.check({rank_key(other)}) && parse_peer(store.get(rank_key(other))).host == own_host())
      return false;
  return true;
}

}  // namespace

std::string own_host() {
  char name[HOST_NAME_MAX + 1] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

Peer own_peer() {
  return {.host = own_host(),
          .pid = ::getpid(),
          .pid_namespace = own_pid_namespace(),
          .cpus = fmt::format("{}", fmt::join(allowed_cpus(), ","))};
}

std::string to_text(const Peer& peer) {
  return json_text(
      {{"host", peer.host}, {"pid", peer.pid}, {"pid_namespace", peer.pid_namespace}, {"cpus", peer.cpus}});
}

// What comes over the network may be anything.
Peer parse_peer(const std::string& text) {
  try {
    const ConfigReader reader(parse_json(text, "store"), "store");
    return {.host = reader.text("host", ""),
            .pid = static_cast<int>(reader.integer("pid", 0, INT_MAX, 0)),
            .pid_namespace = reader.text("pid_namespace", ""),
            .cpus = reader.text("cpus", "")};
  } catch (const CheckpointError& error) {
    throw PeerError("the store has a rank that is none: {}. Does another program write to the job's port?",
                    error.what());
  }
}

std::optional<bool> runs(const Peer& peer) {
  if (peer.host != own_host() || peer.pid_namespace != own_pid_namespace()) return std::nullopt;
  std::ifstream file(fmt::format("/proc/{}/stat", peer.pid));
  std::string stat;
  if (!std::getline(file, stat)) return false;
  const size_t name_end = stat.rfind(')');  // "4711 (name) S ..."; Z and X are ended but not yet collected
  return name_end == std::string::npos || stat.size() <= name_end + 2 ||
         (stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X');
}

bool has_ended(const Peer& peer) { return runs(peer) == false; }

std::string Peer::text(int rank) const { return fmt::format("rank {} (host {}, pid {})", rank, host, pid); }

bool share_cpus(const std::vector<Peer>& peers, const Peer& self) {
  return std::all_of(peers.begin(), peers.end(),
                     [&](const Peer& peer) { return peer.host != self.host || peer.cpus == self.cpus; });
}

std::string list_ranks(const std::vector<int>& ranks) {
  constexpr size_t kMost = 10;
  std::string text;
  for (size_t i = 0; i < ranks.size() && i < kMost; ++i) text += fmt::format("{}{}", i ? ", " : "", ranks[i]);
  return ranks.size() <= kMost ? text : fmt::format("{} and {} more", text, ranks.size() - kMost);
}

net::Endpoint store_endpoint(const Environment& environment) {
  const net::Endpoint& master = environment.master;
  if (environment.store_is_served) return master;
  if (environment.one_node()) return {.host = "127.0.0.1", .port = master.port};
  const bool means_this_machine = master.host == "localhost" || net::is_loopback(master.host);
  const auto addresses = net::resolve(master.host);
  // Debian's /etc/hosts gives a machine's own name the address 127.0.1.1, where other hosts do not reach it.
  if (!means_this_machine && !addresses.empty() && net::is_loopback(addresses.front()))
    return {.host = net::network_address().value_or(addresses.front()), .port = master.port};
  return master;
}

std::string own_address(const net::Endpoint& store) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name && *name) {
    if (const auto address = net::interface_address(name)) return *address;
    throw UsageError(
        "GLOO_SOCKET_IFNAME is \"{}\": this machine has no such network interface with an address", name);
  }
  return net::local_address_towards(store.host).value_or("127.0.0.1");
}

Store open_store(const Environment& environment, milliseconds timeout) {
  static std::mutex mutex;
  static auto* const served = new std::map<std::string, Store>;  // until the process ends
  const StoreOptions options{.who = environment.who(), .timeout = timeout};
  const net::Endpoint at = store_endpoint(environment);
  if (environment.store_is_served || environment.rank != 0) return Store::connect(at, options);
  const std::lock_guard lock(mutex);
  const auto known = served->find(at.text());
  if (known != served->end()) return known->second.named(options.who).another_connection();
  return served->emplace(at.text(), Store::serve(at, options)).first->second;
}

std::vector<Peer> check_in(Store& store, const CheckIn& own, milliseconds timeout) {
  const net::Deadline deadline(timeout);
  const auto [rank, size, backend] = own;
  store.add("came", 1);
  const auto keys = rank_keys(size);
  agree_on(store, keys, "world size", std::to_string(size));
  agree_on(store, keys, "backend", backend);
  take_rank(store, keys, rank);
  WaitNotice notice;
  while (!store.wait_for(keys, std::min(kLookAround, deadline.left()))) {
    if (store.check({"given_up"})) {
      const std::string why = store.get("given_up");
      store.add("heard", 1);
      if (rank == 0) wait_until_heard(store, keys);  // the store may end with this process
      throw PeerError("{}: the group was given up. {}", store.who(), why);
    }
    if (notice.due() && speaks_for_host(store, rank))
      log::info("{}: waiting at {} for rank {} of {}, {:.0f} s more", store.who(), store.endpoint().text(),
                list_ranks(missing_ranks(store, size)), size,
                std::chrono::duration<double>(deadline.left()).count());
    if (!deadline.passed()) continue;
    const auto missing = missing_ranks(store, size);
    if (missing.empty()) break;
    throw PeerError(
        "{}: rank {} did not come to the store at {} (host {}, port {}) within {:.1f} s. Are all {} "
        "processes "
        "running, and is the port open between the hosts?",
        store.who(), list_ranks(missing), store.endpoint().text(), store.endpoint().host,
        store.endpoint().port, std::chrono::duration<double>(timeout).count(), size);
  }
  std::vector<Peer> peers;
  peers.reserve(keys.size());
  for (const auto& peer : store.multi_get(keys, deadline.left())) peers.push_back(parse_peer(peer));
  return peers;
}

}  // namespace diffract::distributed
