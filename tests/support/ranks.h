#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/program.h"

namespace diffract::test {

/// A free TCP port of this machine.
uint16_t free_port();

/// The processes of a job on this machine, started with torchrun's environment as if by hand.
struct Ranks {
  struct Start {
    int world_size = 1;
    std::vector<std::string> command;
    std::string folder = ".";
    uint16_t port = 0;  // of the store; 0: a free one, where rank 0 serves it
    std::vector<std::pair<std::string, std::string>> environment = {};
  };
  explicit Ranks(const Start& start);

  /// Waits for all; their results by rank.
  std::vector<ProgramResult> finish();

  std::vector<std::unique_ptr<Process>> processes;
};

}  // namespace diffract::test
