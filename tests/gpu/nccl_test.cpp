// Process groups over NCCL: real processes, a GPU each. The same tests as Gloo's, in the same words.
#include <fmt/format.h>

#include <chrono>
#include <csignal>

#include "diffract/distributed/store.h"
#include "tests/distributed/ranks.h"
#include "tests/gpu/gpu.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::expect_contains;
using test::free_port;
using test::ProcessEnd;
using test::RunningProcess;

class Nccl : public test::Gpu {
 protected:
  int gpus() const { return backend_ ? backend_->device_count() : 0; }

  static std::vector<RunningProcess> start_all(const std::vector<std::string>& arguments, int size,
                                               const std::map<std::string, std::string>& more = {
                                                   {"DIFFRACT_TEST_BACKEND", "nccl"}}) {
    std::vector<std::string> command = {DIFFRACT_WORKER};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return test::start_ranks(command, size, free_port(), ".", more);
  }
  // Ranks on all GPUs that have met; the last one does not come to the second collective.
  std::vector<RunningProcess> start_with_one_absent(const char* timeout_ms) const {
    auto ranks = start_all({"absent", timeout_ms, std::to_string(gpus() - 1)}, gpus());
    for (auto& rank : ranks) EXPECT_TRUE(rank.wait_for_output("met"));
    return ranks;
  }
  void expect_named(std::vector<RunningProcess>& ranks, std::chrono::seconds within,
                    const std::string& how) const {
    for (int rank = 0; rank + 1 < gpus(); ++rank) {
      const ProcessEnd end = ranks[static_cast<size_t>(rank)].wait(within);
      EXPECT_EQ(end.exit_code, 5) << end.err;
      expect_contains(end.err, {fmt::format("rank {} of {}: all_reduce #1", rank, gpus()),
                                fmt::format("rank {} (host ", gpus() - 1), how});
    }
  }
};

#define NEEDS_TWO_GPUS() \
  if (gpus() < 2) GTEST_SKIP() << "needs two GPUs; there are " << gpus()

TEST_F(Nccl, CollectivesHold) {
  for (const int size : {1, gpus()}) {
    auto ranks = start_all({"collectives"}, size);
    for (auto& rank : ranks) {
      const ProcessEnd end = rank.wait(120s);
      EXPECT_EQ(end.exit_code, 0) << end.err;
      expect_contains(end.out, {"collectives hold"});
      EXPECT_EQ(end.err, "");
    }
  }
}

TEST_F(Nccl, IsWhatGpusChoose) {
  auto ranks = start_all({"partial_state"}, gpus(), {});
  for (int rank = 0; rank < gpus(); ++rank) {
    const ProcessEnd end = ranks[static_cast<size_t>(rank)].wait(60s);
    EXPECT_EQ(end.exit_code, 0) << end.err;
    expect_contains(end.out, {fmt::format("index {} of {}, local {}, cuda:{}, ", rank, gpus(), rank, rank)});
  }
  auto chosen = start_all({"meet", "30000", ""}, gpus(), {});
  for (auto& rank : chosen) expect_contains(rank.wait(60s).out, {gpus() > 1 ? "over nccl" : "over "});
}

TEST_F(Nccl, WantsAGpuForEachRank) {
  auto refused = start_all({"meet", "30000", "nccl"}, gpus() + 1, {});
  for (auto& rank : refused) {
    const ProcessEnd end = rank.wait(60s);
    EXPECT_EQ(end.exit_code, 2) << end.err;
    expect_contains(end.err, {"2 processes of this machine share cuda:", "--nproc-per-node gpu", "gloo"});
  }
  auto shared = start_all({"meet", "30000", ""}, gpus() + 1, {});
  for (auto& rank : shared) expect_contains(rank.wait(60s).out, {"over gloo"});
}

TEST_F(Nccl, NamesAnotherBackendThanItsOwn) {
  NEEDS_TWO_GPUS();
  const uint16_t port = free_port();
  RunningProcess first({DIFFRACT_WORKER, "meet", "20000", "nccl"}, test::environment(0, 2, port));
  RunningProcess second({DIFFRACT_WORKER, "meet", "20000", "gloo"}, test::environment(1, 2, port));
  for (RunningProcess* process : {&first, &second}) {
    const ProcessEnd end = process->wait(30s);
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {"the backend is ", "in another process of the job"});
  }
}

TEST_F(Nccl, NamesTheRankThatDoesNotComeToACollective) {
  NEEDS_TWO_GPUS();
  auto ranks = start_with_one_absent("3000");
  expect_named(ranks, 30s, "has not come; it was last in barrier #1");
}

TEST_F(Nccl, NoticesAKilledRankAtOnce) {
  NEEDS_TWO_GPUS();
  auto ranks = start_with_one_absent("60000");
  const auto begin = std::chrono::steady_clock::now();
  ranks.back().signal(SIGKILL);
  expect_named(ranks, 30s, "has not come");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);
}

TEST_F(Nccl, NamesARankThatIsStopped) {
  NEEDS_TWO_GPUS();
  auto ranks = start_with_one_absent("3000");
  ranks.back().signal(SIGSTOP);
  expect_named(ranks, 30s, "has not come");
}

TEST_F(Nccl, NamesASenderThatIsSilent) {
  NEEDS_TWO_GPUS();
  auto ranks = start_all({"silent_peer", "3000"}, 2);
  const ProcessEnd end = ranks[0].wait(30s);
  EXPECT_EQ(end.exit_code, 5) << end.err;
  expect_contains(end.err, {"rank 0 of 2: recv from rank 1 (host "});
}

}  // namespace
}  // namespace diffract::distributed
