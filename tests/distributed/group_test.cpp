// Process groups of real processes on loopback. Every wait is bounded.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "diffract/distributed/store.h"
#include "tests/distributed/ranks.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::environment;
using test::expect_contains;
using test::free_port;
using test::ProcessEnd;
using test::RunningProcess;
using test::start;
using test::start_all;

class Collectives : public ::testing::TestWithParam<int> {};

TEST_P(Collectives, HoldOverGlooProcesses) {
  auto ranks = start_all({"collectives"}, GetParam(), free_port());
  for (auto& rank : ranks) {
    const ProcessEnd end = rank.wait();
    EXPECT_EQ(end.exit_code, 0) << end.err;
    expect_contains(end.out, {"collectives hold"});
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, Collectives, ::testing::Values(1, 2, 3, 8),
                         [](const auto& size) { return fmt::format("{}Ranks", size.param); });

TEST(ProcessGroup, NamesTheRanksThatDoNotStart) {
  const test::ServedJob job(4);
  // One after the other: the store keeps that rank 2 was there.
  const ProcessEnd third = job.start({"meet", "3000"}, 2).wait();
  EXPECT_EQ(third.exit_code, 5) << third.err;
  expect_contains(third.err, {"rank 2 of 4: rank 0, 1, 3 did not come"});
  const ProcessEnd first = job.start({"meet", "3000"}, 0).wait();
  EXPECT_EQ(first.exit_code, 5) << first.err;
  expect_contains(first.err,
                  {"rank 0 of 4: rank 1, 3 did not come", "127.0.0.1", std::to_string(job.port())});
}

TEST(ProcessGroup, SaysWhomItWaitsFor) {
  const test::ServedJob job(3);
  const auto first = job.start({"meet"}, 0);
  const std::string line =
      fmt::format("rank 0 of 3: waiting at 127.0.0.1:{} for rank 1, 2 of 3, ", job.port());
  EXPECT_TRUE(first.wait_for_error(line)) << first.errors();
  const uint16_t port = free_port();
  const auto second = start({"meet"}, 1, 2, port);
  EXPECT_TRUE(second.wait_for_error(
      fmt::format("rank 1 of 2: waiting for 127.0.0.1:{} (Connection refused), ", port)))
      << second.errors();
}

TEST(ProcessGroup, NamesAMissingRankZero) {
  const uint16_t port = free_port();
  auto second = start({"meet", "700"}, 1, 2, port);
  const ProcessEnd end = second.wait();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  expect_contains(end.err, {"rank 1 of 2: cannot connect", "host 127.0.0.1", fmt::format("port {}", port)});
}

TEST(ProcessGroup, NamesARankThatIsThereTwice) {
  const uint16_t port = free_port();
  auto first = start({"meet"}, 0, 3, port);
  auto one = start({"meet"}, 1, 3, port), twin = start({"meet"}, 1, 3, port);
  int named = 0;
  for (RunningProcess* process : {&first, &one, &twin}) {
    const ProcessEnd end = process->wait(150s);  // before the timeout: who finds it out tells all
    EXPECT_EQ(end.exit_code, 5) << end.err;
    if (end.err.find("Give each process a rank of its own") != std::string::npos) ++named;
    expect_contains(end.err, {"of 3: ", "127.0.0.1", std::to_string(port)});
  }
  EXPECT_EQ(named, 3);
}

TEST(ProcessGroup, NamesASecondRankZero) {
  const uint16_t port = free_port();
  auto first = start({"meet", "1500"}, 0, 2, port), twin = start({"meet", "1500"}, 0, 2, port);
  const ProcessEnd ends[] = {first.wait(), twin.wait()};
  EXPECT_EQ(ends[0].exit_code, 5);
  EXPECT_EQ(ends[1].exit_code, 5);
  expect_contains(ends[0].err + ends[1].err, {"is in use by another program", std::to_string(port)});
}

TEST(ProcessGroup, NamesAWorldSizeThatDiffers) {
  const uint16_t port = free_port();
  auto first = start({"meet"}, 0, 2, port);
  auto other = start({"meet"}, 1, 3, port);
  for (RunningProcess* process : {&first, &other}) {
    const ProcessEnd end = process->wait(150s);
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {"the world size is", "127.0.0.1", std::to_string(port)});
  }
}

// Rank 0, which serves the store, may be the one that sees it, and is heard before it ends.
TEST(ProcessGroup, NamesAWorldSizeThatDiffersFromTheFirstToCome) {
  const uint16_t port = free_port();
  auto other = start({"meet"}, 1, 3, port);
  std::this_thread::sleep_for(1s);  // as a rule it waits for the store then; nothing hangs on it
  auto first = start({"meet"}, 0, 2, port);
  for (RunningProcess* process : {&first, &other}) {
    const ProcessEnd end = process->wait(150s);
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {"the world size is", "127.0.0.1", std::to_string(port)});
  }
}

TEST(ProcessGroup, NamesAHostThatDoesNotResolve) {
  auto variables = environment(1, 2, 29500);
  variables["MASTER_ADDR"] = "no-such-host.invalid";
  variables["LOCAL_WORLD_SIZE"] = "1";
  variables["LOCAL_RANK"] = "0";
  RunningProcess second({DIFFRACT_WORKER, "meet", "700"}, variables);
  const ProcessEnd end = second.wait();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  expect_contains(end.err, {"rank 1 of 2: cannot connect", "no-such-host.invalid", "29500"});
}

TEST(ProcessGroup, SaysAtOnceThatANameDoesNotResolve) {
  auto variables = environment(1, 2, 29500);
  variables["MASTER_ADDR"] = "no-such-host.invalid";
  variables["LOCAL_WORLD_SIZE"] = "1";
  variables["LOCAL_RANK"] = "0";
  const RunningProcess second({DIFFRACT_WORKER, "meet"}, variables);
  EXPECT_TRUE(second.wait_for_error("rank 1 of 2: no-such-host.invalid does not resolve")) << second.errors();
}

// A network namespace of its own has no loopback interface that is up.
TEST(ProcessGroup, SaysAtOnceThatLoopbackIsDown) {
  if (RunningProcess({"unshare", "--net", "true"}, {}).wait().exit_code != 0)
    GTEST_SKIP() << "no network namespace can be made here (needs root): a loopback interface that is down";
  for (const int rank : {0, 1}) {
    RunningProcess process({"unshare", "--net", DIFFRACT_WORKER, "meet", "1000000"},
                           environment(rank, 2, 29500));
    const ProcessEnd end = process.wait();  // long before the timeout
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {fmt::format("rank {} of 2: ", rank), "The loopback interface is down"});
  }
}

TEST(ProcessGroup, TakesFourVariables) {
  std::vector<RunningProcess> ranks;
  const std::string port = std::to_string(free_port());
  for (const char* rank : {"0", "1"})
    ranks.emplace_back(
        std::vector<std::string>{DIFFRACT_WORKER, "meet"},
        std::map<std::string, std::string>{
            {"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", port}});
  for (auto& rank : ranks) {
    const ProcessEnd end = rank.wait();
    EXPECT_EQ(end.exit_code, 0) << end.err;
    expect_contains(end.out, {"of 2 over gloo"});
  }
}

TEST(ProcessGroup, NamesAHalfSetEnvironment) {
  auto variables = environment(1, 2, 29500);
  variables["MASTER_PORT"] = "";
  RunningProcess second({DIFFRACT_WORKER, "meet"}, variables);
  const ProcessEnd end = second.wait();
  EXPECT_EQ(end.exit_code, 2) << end.err;
  expect_contains(end.err, {"half set", "MASTER_PORT is missing"});
}

TEST(ProcessGroup, NamesTheRankThatDoesNotComeToACollective) {
  const test::ServedJob job(3);
  auto ranks = job.start_all({"absent", "2000", "2"});
  for (int rank : {0, 1}) {
    const ProcessEnd end = ranks[static_cast<size_t>(rank)].wait();
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {fmt::format("rank {} of 3: all_reduce #1", rank), "rank 2 (host "});
  }
}

TEST(ProcessGroup, NoticesAKilledRankAtOnce) {
  const test::ServedJob job(3);
  auto ranks = job.start_all({"absent", "1000000", "2"});
  for (auto& rank : ranks) ASSERT_TRUE(rank.wait_for_output("met"));
  ranks[2].signal(SIGKILL);
  for (int rank : {0, 1}) {
    const ProcessEnd end = ranks[static_cast<size_t>(rank)].wait();  // long before the timeout
    EXPECT_EQ(end.exit_code, 5) << end.err;
    expect_contains(end.err, {"all_reduce #1"});
  }
}

TEST(ProcessGroup, SaysWhatToUseWithoutGpus) {
  RunningProcess alone({DIFFRACT_WORKER, "nccl"}, {{"ACCELERATE_USE_CPU", "true"}});
  const ProcessEnd end = alone.wait();
  EXPECT_EQ(end.exit_code, 2) << end.err;
  expect_contains(end.err, {"nccl", "gloo", "then the device decides"});
}

TEST(ProcessGroup, NamesARankThatIsStopped) {
  auto ranks = start_all({"absent", "2000", "2"}, 3, free_port());
  for (auto& rank : ranks) ASSERT_TRUE(rank.wait_for_output("met"));
  ranks[2].signal(SIGSTOP);
  const ProcessEnd end = ranks[0].wait();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  expect_contains(end.err, {"rank 2 (host "});
}

TEST(ProcessGroup, NamesAnotherCollectiveThanItsOwn) {
  const test::ServedJob job(2);
  auto ranks = job.start_all({"mismatch", "4000"});
  std::string errors;
  for (auto& rank : ranks) {
    const ProcessEnd end = rank.wait();
    EXPECT_EQ(end.exit_code, 5) << end.err;
    errors += end.err;
  }
  EXPECT_TRUE(errors.find("called barrier instead") != std::string::npos ||
              errors.find("called all_reduce instead") != std::string::npos)
      << errors;
}

TEST(ProcessGroup, NamesASenderThatIsSilent) {
  auto ranks = start_all({"silent_peer", "1500"}, 2, free_port());
  const ProcessEnd end = ranks[0].wait();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  expect_contains(end.err, {"rank 0 of 2: recv from rank 1 (host "});
}

TEST(ProcessGroup, TakesRankAndSizeFromTheCaller) {
  const std::map<std::string, std::string> master = {{"MASTER_ADDR", "127.0.0.1"},
                                                     {"MASTER_PORT", std::to_string(free_port())}};
  RunningProcess first({DIFFRACT_WORKER, "meet_as", "200000", "0", "2"}, master);
  RunningProcess second({DIFFRACT_WORKER, "meet_as", "200000", "1", "2"}, master);
  expect_contains(first.wait().out, {"rank 0 of 2"});
  expect_contains(second.wait().out, {"rank 1 of 2"});
  RunningProcess alone({DIFFRACT_WORKER, "meet_as", "200000", "0", "1"}, {});
  expect_contains(alone.wait().out, {"rank 0 of 1"});
  RunningProcess lost({DIFFRACT_WORKER, "meet_as", "200000", "1", "2"}, {});
  const ProcessEnd end = lost.wait();
  EXPECT_EQ(end.exit_code, 2);
  expect_contains(end.err, {"MASTER_ADDR, MASTER_PORT are missing"});
}

}  // namespace
}  // namespace diffract::distributed
