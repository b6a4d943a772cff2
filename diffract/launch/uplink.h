#pragma once
#include <cstdint>

#include "diffract/launch/failure.h"

namespace diffract::launch {

/// What a node's agent reports to the coordinator, which is here or on another machine.
class Uplink {
 public:
  virtual ~Uplink() = default;
  virtual void ready(uint16_t port) = 0;
  virtual void failed(const WorkerFailure& failure) = 0;
  virtual void succeeded(int exit_code) = 0;
  virtual void interrupted(int signal) = 0;
};

}  // namespace diffract::launch
