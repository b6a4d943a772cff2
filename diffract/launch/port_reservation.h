#pragma once
#include <cstdint>
#include <string>

#include "diffract/core/file_descriptor.h"

namespace diffract::launch {

/// A TCP port kept free until a worker listens on it: bound, but not listened on, so that the worker can take
/// it (with SO_REUSEADDR, which stores set) while no other program gets it as "any free port". A second
/// launcher on this machine does not reserve the same one.
class PortReservation {
 public:
  PortReservation() = default;
  /// Reserves `port` of `address` (numeric or a name), any free one for 0. None when it is in use.
  /// Throws PeerError when the address is not one of this machine; `option` is what gave it.
  PortReservation(const std::string& address, uint16_t port, const char* option);

  explicit operator bool() const { return static_cast<bool>(socket_); }
  uint16_t port() const { return port_; }

 private:
  bool take(const std::string& address, uint16_t port, const char* option);

  FileDescriptor socket_, lock_;
  uint16_t port_ = 0;
};

}  // namespace diffract::launch
