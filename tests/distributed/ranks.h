#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "diffract/distributed/store.h"
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

/// A job whose store the test serves, so that no rank takes it along when it ends.
class ServedJob {
 public:
  explicit ServedJob(int size) : size_(size) {}
  RunningProcess start(const std::vector<std::string>& arguments, int rank) const {
    return start_as(arguments, rank, size_);
  }
  RunningProcess start_as(const std::vector<std::string>& arguments, int rank, int size) const {
    std::vector<std::string> command = {DIFFRACT_WORKER};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto variables = environment(rank, size, port());
    variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
    return {command, variables};
  }
  std::vector<RunningProcess> start_all(const std::vector<std::string>& arguments) const {
    std::vector<RunningProcess> ranks;
    for (int rank = 0; rank < size_; ++rank) ranks.push_back(start(arguments, rank));
    return ranks;
  }
  uint16_t port() const { return store_.endpoint().port; }

 private:
  int size_;
  distributed::Store store_ = distributed::Store::serve({.host = "127.0.0.1", .port = 0});
};

inline void expect_contains(const std::string& text, const std::vector<std::string>& parts) {
  for (const auto& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
}

}  // namespace diffract::test
