#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/file_descriptor.h"
#include "diffract/net/deadline.h"

namespace diffract::net {

/// A host (a name or a numeric address) and a TCP port.
struct Endpoint {
  std::string host;
  uint16_t port = 0;
  /// "host:port", with IPv6 addresses in brackets.
  std::string text() const;
};

/// The port that was to be listened on is in use by another program.
struct PortInUse : PeerError {
  using PeerError::PeerError;
};

struct Listener {
  FileDescriptor socket;  // bound and listening
  Endpoint at;            // the numeric address and the port that it got
};

/// Listens on one address of this machine only; port 0 takes any free port. `who` begins the messages
/// ("rank 0 of 2"). Throws PortInUse, and PeerError when the host does not resolve or is not this machine.
Listener listen_on(const Endpoint& at, const std::string& who);

/// The numeric addresses of a host name. Empty when it does not resolve; `reason` says why.
std::vector<std::string> resolve(const std::string& host, std::string* reason = nullptr);

/// One try to connect.
struct Attempt {
  FileDescriptor connection;  // none when it failed
  Endpoint at;                // the numeric address that was reached
  std::string reason;         // why it failed
  bool resolved = true;       // the name has an address
};
/// Tries each address of `to` once, until the deadline. Throws PeerError where no waiting helps: the loopback
/// interface is down.
Attempt try_to_connect(const Endpoint& to, const Deadline& deadline, const std::string& who);
/// "rank 1 of 2: cannot connect to node1:29500 (host node1, port 29500)", then `how`, and what to look at.
std::string cannot_connect(const Endpoint& to, const std::string& who, const std::string& how);

/// A connection to `to`, tried again until the deadline: a peer may start later than we do, and a name may
/// come into being late. Says at once that a name does not resolve, and at times that it waits. Throws
/// PeerError naming the last reason.
FileDescriptor connect_to(const Endpoint& to, const Deadline& deadline, const std::string& who,
                          Endpoint* connected = nullptr);

/// The numeric address of this machine that a connection to `peer` would leave from.
std::optional<std::string> local_address_towards(const std::string& peer);
/// The first numeric address (IPv4 before IPv6) of a network interface by its name, e.g. "eth0".
std::optional<std::string> interface_address(const std::string& interface);
/// The first address of this machine that is not loopback; none on a machine without a network.
std::optional<std::string> network_address();
/// True for 127.0.0.0/8 and ::1.
bool is_loopback(const std::string& numeric_address);
/// True when the numeric address belongs to an interface of this machine.
bool is_local(const std::string& numeric_address);

/// Gives every connection of this process to the numeric endpoint `peer` the timeout for each send and
/// receive. c10d's store client waits for replies without one.
void bound_waits(const Endpoint& peer, std::chrono::milliseconds timeout);

}  // namespace diffract::net
