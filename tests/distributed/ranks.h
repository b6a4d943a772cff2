#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "diffract/distributed/network.h"
#include "tests/support/process.h"

namespace diffract::test {

inline uint16_t free_port() {
  return distributed::listen_on({.host = "127.0.0.1", .port = 0}, "the test").at.port;
}

/// The environment of one rank, as torchrun sets it.
inline std::map<std::string, std::string> environment(int rank, int size, uint16_t port) {
  return {{"RANK", std::to_string(rank)},       {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)}, {"LOCAL_WORLD_SIZE", std::to_string(size)},
          {"MASTER_ADDR", "127.0.0.1"},         {"MASTER_PORT", std::to_string(port)}};
}

/// Runs distributed_worker as one rank.
inline RunningProcess start(const std::vector<std::string>& arguments, int rank, int size, uint16_t port) {
  std::vector<std::string> command = {DIFFRACT_WORKER};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return {command, environment(rank, size, port)};
}
inline std::vector<RunningProcess> start_all(const std::vector<std::string>& arguments, int size,
                                             uint16_t port) {
  std::vector<RunningProcess> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(start(arguments, rank, size, port));
  return ranks;
}

inline void expect_contains(const std::string& text, const std::vector<std::string>& parts) {
  for (const auto& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
}

}  // namespace diffract::test
