#include "diffract/net/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/chrono.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "diffract/core/log.h"
#include "diffract/core/wait_notice.h"

namespace diffract::net {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;
using Interfaces = std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)>;
using std::chrono::milliseconds;

Addresses look_up(const Endpoint& at, std::string* reason) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(at.host.c_str(), std::to_string(at.port).c_str(), &hints, &found);
  if (code != 0 && reason) *reason = code == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(code);
  return {code == 0 ? found : nullptr, &::freeaddrinfo};
}

Endpoint numeric(const sockaddr* address, socklen_t length) {
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "0";
  ::getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  // c10d's sockets are IPv6 ones that speak to IPv4 as well.
  const std::string name = host;
  const std::string mapped = "::ffff:";
  return {.host = name.starts_with(mapped) ? name.substr(mapped.size()) : name,
          .port = static_cast<uint16_t>(std::atoi(port))};
}

Endpoint name_of(int socket, int (*get)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (get(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  return numeric(reinterpret_cast<const sockaddr*>(&address), length);
}

// Waits for a connection that is under way; 0 when it stands, else the error.
int finish_connect(int socket, milliseconds timeout) {
  pollfd entry{.fd = socket, .events = POLLOUT, .revents = 0};
  if (::poll(&entry, 1, static_cast<int>(timeout.count())) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

int try_connect(const addrinfo& address, milliseconds timeout, FileDescriptor& connection) {
  FileDescriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno;
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (const int failure = finish_connect(socket.get(), timeout); failure != 0) return failure;
  }
  ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) & ~O_NONBLOCK);
  connection = std::move(socket);
  return 0;
}

// The first interface address for which `wanted` holds, IPv4 before IPv6.
template <typename Wanted>
std::optional<std::string> find_interface_address(const Wanted& wanted) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  const Interfaces owner(list, &::freeifaddrs);
  for (const int family : {AF_INET, AF_INET6})
    for (const ifaddrs* entry = list; entry; entry = entry->ifa_next) {
      if (!entry->ifa_addr || entry->ifa_addr->sa_family != family) continue;
      const auto host =
          numeric(entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)).host;
      if (wanted(std::string(entry->ifa_name), host)) return host;
    }
  return std::nullopt;
}

}  // namespace

std::string Endpoint::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Listener listen_on(const Endpoint& at, const std::string& who) {
  std::string reason;
  const Addresses addresses = look_up(at, &reason);
  if (!addresses)
    throw PeerError("{}: cannot listen on {}: the host does not resolve ({}). Is the name right?", who,
                    at.text(), reason);
  FileDescriptor socket(::socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (!socket || ::bind(socket.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0) {
    const int error = errno;
    if (error == EADDRINUSE)
      throw PortInUse("{}: port {} of {} is in use by another program. Set MASTER_PORT to a free one", who,
                      at.port, at.host);
    throw PeerError("{}: cannot listen on {}: {}. {}", who, at.text(), std::strerror(error),
                    error == EADDRNOTAVAIL
                        ? "The address is not one of this machine: MASTER_ADDR must name the host of rank 0"
                        : "Choose another port or address");
  }
  Endpoint bound = name_of(socket.get(), &::getsockname);
  return {.socket = std::move(socket), .at = std::move(bound)};
}

std::vector<std::string> resolve(const std::string& host, std::string* reason) {
  std::vector<std::string> found;
  const Addresses addresses = look_up({.host = host, .port = 0}, reason);
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next)
    found.push_back(numeric(a->ai_addr, a->ai_addrlen).host);
  return found;
}

Attempt try_to_connect(const Endpoint& to, const Deadline& deadline, const std::string& who) {
  Attempt attempt;
  const Addresses addresses = look_up(to, &attempt.reason);
  attempt.resolved = addresses != nullptr;
  bool loopback_is_down = attempt.resolved;
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next) {
    const Endpoint at = numeric(a->ai_addr, a->ai_addrlen);
    const int failure = try_connect(*a, deadline.left(), attempt.connection);
    if (failure == 0) {
      attempt.at = at;
      return attempt;
    }
    attempt.reason = failure == ETIMEDOUT ? "no answer" : std::strerror(failure);
    loopback_is_down = loopback_is_down && failure == ENETUNREACH && is_loopback(at.host);
    if (deadline.passed()) break;
  }
  if (loopback_is_down)
    throw PeerError(
        "{}: cannot reach {}, an address of this machine's own: {}. The loopback interface is down; bring it "
        "up: ip link set lo up",
        who, to.text(), attempt.reason);
  return attempt;
}

std::string cannot_connect(const Endpoint& to, const std::string& who, const std::string& how) {
  return fmt::format(
      "{}: cannot connect to {} (host {}, port {}){}. Is rank 0 or the launcher running there, is the name "
      "right, and is the port open between the hosts?",
      who, to.text(), to.host, to.port, how);
}

FileDescriptor connect_to(const Endpoint& to, const Deadline& deadline, const std::string& who,
                          Endpoint* connected) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds_left = [&] { return std::chrono::duration<double>(deadline.left()).count(); };
  WaitNotice notice(begin);
  bool told = false;
  for (milliseconds pause(20);; pause = std::min(pause * 2, milliseconds(500))) {
    Attempt attempt = try_to_connect(to, deadline, who);
    if (attempt.connection) {
      if (connected) *connected = attempt.at;
      return std::move(attempt.connection);
    }
    if (deadline.passed()) {
      const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
      throw PeerError(
          "{}", cannot_connect(to, who, fmt::format(" after {:.1f} s: {}", waited.count(), attempt.reason)));
    }
    if (!attempt.resolved && !std::exchange(told, true))
      log::warning("{}: {} does not resolve ({}). It is looked up again for {:.0f} s: a name may come late",
                   who, to.host, attempt.reason, seconds_left());
    if (notice.due())
      log::info("{}: waiting for {} ({}), {:.0f} s more", who, to.text(), attempt.reason, seconds_left());
    std::this_thread::sleep_for(std::min(pause, deadline.left()));
  }
}

std::optional<std::string> local_address_towards(const std::string& peer) {
  const Addresses addresses = look_up({.host = peer, .port = 9}, nullptr);
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next) {
    const FileDescriptor socket(::socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));  // sends nothing
    if (socket && ::connect(socket.get(), a->ai_addr, a->ai_addrlen) == 0)
      return name_of(socket.get(), &::getsockname).host;
  }
  return std::nullopt;
}

std::optional<std::string> interface_address(const std::string& interface) {
  return find_interface_address([&](const std::string& name, const auto&) { return name == interface; });
}

std::optional<std::string> network_address() {
  return find_interface_address([](const auto&, const std::string& host) {
    return !is_loopback(host) && !host.starts_with("fe80");  // link-local needs its interface's name
  });
}

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

bool is_local(const std::string& address) {
  return is_loopback(address) ||
         find_interface_address([&](const auto&, const std::string& host) { return host == address; });
}

void bound_waits(const Endpoint& peer, milliseconds timeout) {
  const timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = (timeout.count() % 1000) * 1000};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    const Endpoint other = name_of(descriptor, &::getpeername);
    if (other.host != peer.host || other.port != peer.port) continue;
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
}

}  // namespace diffract::net
