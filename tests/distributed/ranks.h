#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/ranks.h"

namespace diffract::test {

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
