// spawn: a program that runs itself again.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "tests/distributed/ranks.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::count;
using test::expect_contains;
using test::ProcessEnd;
using test::RunningProcess;

ProcessEnd run(const std::vector<std::string>& arguments, std::chrono::seconds timeout = test::kPatience) {
  std::vector<std::string> command = {DIFFRACT_WORKER};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunningProcess(command, {}).wait(timeout);
}

std::vector<int> pids_in(const std::string& text) {
  std::vector<int> pids;
  for (size_t at = text.find("pid "); at != std::string::npos; at = text.find("pid ", at + 1))
    pids.push_back(std::atoi(text.c_str() + at + 4));
  return pids;
}

// Gone or a zombie within a minute or two: nobody here collects another's children.
bool ends_soon(int pid) {
  for (int tries = 0; tries < 30000; ++tries) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string stat;
    if (!std::getline(file, stat) || stat.find(") Z ") != std::string::npos) return true;
    std::this_thread::sleep_for(2ms);
  }
  return false;
}

TEST(Spawn, RunsItsFunctionOnceInEachProcess) {
  const ProcessEnd end = run({"spawn_twice", "main"});
  EXPECT_EQ(end.exit_code, 0) << end.err;
  for (const char* once : {"first 0", "first 1", "second 0", "second 1", "second 2", "main after"})
    EXPECT_EQ(count(end.out, once), 1u) << once << ": " << end.out;
  // The second call's processes run through what lies between, as documented.
  EXPECT_EQ(count(end.out, "main between"), 4u) << end.out;
}

// A spawned process may start other programs, which may spawn too.
TEST(Spawn, LeavesNothingOfItsOwnInTheEnvironment) {
  const ProcessEnd end = run({"spawn_environment"});
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(end.out.find("DIFFRACT_SPAWN is gone"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("DIFFRACT_SPAWN_PIPE is gone"), std::string::npos) << end.out;
}

TEST(Spawn, MayBeNested) {
  const ProcessEnd end = run({"spawn_nested"});
  EXPECT_EQ(end.exit_code, 0) << end.err;
  for (const char* once :
       {"early 0.0", "early 1.0", "inner 0.0", "inner 0.1", "inner 1.0", "inner 1.1", "outer 0", "outer 1"})
    EXPECT_EQ(count(end.out, once), 1u) << once << ": " << end.out;
}

TEST(Spawn, MakesAWorld) {
  const ProcessEnd end = run({"spawn_group"});
  EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(end.out, {"rank 0 of 3 has 6", "rank 1 of 3 has 6", "rank 2 of 3 has 6"});
}

TEST(Spawn, MakesAWorldOfItsOwnInsideALaunchedOne) {
  RunningProcess launched({DIFFRACT_WORKER, "spawn_group"}, test::environment(1, 2, test::free_port()));
  const ProcessEnd end = launched.wait();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(end.out, {"rank 2 of 3 has 6"});
}

TEST(Spawn, KeepsAMasterThatWasSetByHand) {
  RunningProcess program({DIFFRACT_WORKER, "spawn_group"},
                         {{"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(test::free_port())}});
  const ProcessEnd end = program.wait();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(end.out, {"rank 2 of 3 has 6"});
}

struct Failure {
  std::string how;
  int exit_code;
  std::string message;
};

class SpawnFailure : public ::testing::TestWithParam<Failure> {};

TEST_P(SpawnFailure, ThrowsTheFailingRanksMessage) {
  const ProcessEnd end = run({"spawn_fails", GetParam().how});
  EXPECT_EQ(end.exit_code, GetParam().exit_code) << end.err;
  const auto pids = pids_in(end.out);
  ASSERT_EQ(pids.size(), 3u) << end.out;
  // The cause, and not what followed from it in ranks 0 and 2.
  expect_contains(end.err, {"spawn: rank 1 (pid ", GetParam().message});
  for (const int pid : pids) EXPECT_TRUE(ends_soon(pid)) << pid << " is still there";
}
INSTANTIATE_TEST_SUITE_P(Ways, SpawnFailure,
                         ::testing::Values(Failure{"throw", 2, "): no such prompt"},
                                           Failure{"foreign", 70, "unknown type"},
                                           Failure{"kill", 5, "ended by signal 9 (Killed)"},
                                           Failure{"exit", 70, "ended with exit code 41"}),
                         [](const auto& way) { return way.param.how; });

TEST(Spawn, LeavesNoOrphans) {
  RunningProcess program({DIFFRACT_WORKER, "spawn_and_wait"}, {});
  ASSERT_TRUE(program.wait_for_output("2 started"));
  ASSERT_TRUE(program.wait_for_output("pid ", 2));
  const auto pids = pids_in(program.output());
  ASSERT_EQ(pids.size(), 2u);
  program.signal(SIGKILL);
  EXPECT_EQ(program.wait().exit_code, 137);
  for (const int pid : pids) EXPECT_TRUE(ends_soon(pid)) << pid << " is still there";
}

TEST(Spawn, EndsWithItsContext) {
  const ProcessEnd end = run({"spawn_and_leave"});
  EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(end.out, {"left"});
}

TEST(Spawn, SaysWhenTheProgramWentAstray) {
  const ProcessEnd end = run({"spawn_astray"});
  EXPECT_EQ(end.exit_code, 70) << end.err;
  expect_contains(end.err, {"spawn: rank 0", "come to the same spawn calls"});
}

TEST(Spawn, RefusesNoProcesses) {
  const ProcessEnd end = run({"spawn_none"});
  EXPECT_EQ(end.exit_code, 2);
  expect_contains(end.err, {"0 processes; expected at least 1"});
}

}  // namespace
}  // namespace diffract::distributed
