#include "diffract/launch/port_reservation.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "diffract/core/error.h"

namespace diffract::launch {
namespace {

// A name in the abstract namespace, which is the network namespace's own, as ports are.
FileDescriptor lock_port(uint16_t port) {
  FileDescriptor lock(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text = fmt::format("diffract-launch-port-{}", port);
  std::memcpy(name.sun_path + 1, text.data(), text.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  if (::bind(lock.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) lock.reset();
  return lock;
}

uint16_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

PortReservation::PortReservation(const std::string& address, uint16_t port, const char* option) {
  constexpr int kTries = 100;  // any free port may be locked by another launcher
  for (int i = 0; i < kTries && !take(address, port, option) && port == 0; ++i) {
  }
}

bool PortReservation::take(const std::string& address, uint16_t port, const char* option) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0)
    throw PeerError("{} does not resolve: {}. Is {} right?", address, ::gai_strerror(code), option);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  FileDescriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  // Without it, connections of an earlier job that wait for their end would make the port look busy.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0) {
    if (errno == EADDRINUSE) return false;
    throw PeerError("cannot use port {} of {}: {}{}", port, address, std::strerror(errno),
                    errno != EADDRNOTAVAIL ? ""
                    : std::strcmp(option, "--local-addr") == 0
                        ? ". --local-addr must be an address of this machine"
                        : fmt::format(". {} must be an address of the first machine", option));
  }
  FileDescriptor lock = lock_port(port_of(socket.get()));
  if (!lock) return false;
  port_ = port_of(socket.get());
  socket_ = std::move(socket);
  lock_ = std::move(lock);
  return true;
}

}  // namespace diffract::launch
