#pragma once
#include <map>
#include <string>
#include <vector>

#include "diffract/net/network.h"
#include "tests/support/process.h"

namespace diffract::test {

inline uint16_t free_port() { return net::listen_on({.host = "127.0.0.1", .port = 0}, "the test").at.port; }

/// The environment of one rank, as torchrun sets it.
inline std::map<std::string, std::string> environment(int rank, int size, uint16_t port) {
  return {{"RANK", std::to_string(rank)},       {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)}, {"LOCAL_WORLD_SIZE", std::to_string(size)},
          {"MASTER_ADDR", "127.0.0.1"},         {"MASTER_PORT", std::to_string(port)}};
}

/// Starts a program as all ranks of a job on this machine; `more` is added to their environment.
inline std::vector<RunningProcess> start_ranks(const std::vector<std::string>& command, int size,
                                               uint16_t port, const std::string& folder,
                                               const std::map<std::string, std::string>& more = {}) {
  std::vector<RunningProcess> ranks;
  for (int rank = 0; rank < size; ++rank) {
    auto variables = environment(rank, size, port);
    variables.insert(more.begin(), more.end());
    ranks.emplace_back(command, variables, folder);
  }
  return ranks;
}

}  // namespace diffract::test
