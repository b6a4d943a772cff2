// Workers that hang, and workers that only seem to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using test::contains;
using test::launch;
using test::Milliseconds;
using test::RunningLauncher;

const std::string kWorker = DIFFRACT_LAUNCH_WORKER;

TEST(Hang, AStoppedWorkerIsNamedAtOnceAndFailsInTime) {
  RunningLauncher launcher({"--nproc-per-node=2", "--hang-timeout=1", "--", "/bin/sh", "-c",
                            "echo $RANK $$; [ $RANK = 1 ] || exec sleep 100; exec sleep 101"});
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 101").size() == 1; }));
  const pid_t victim = launcher.processes_of("sleep 101").front();
  ::kill(victim, SIGSTOP);
  EXPECT_EQ(launcher.wait(), 5);
  const std::string err = launcher.err();
  const size_t named = err.find("is stopped by SIGSTOP; it counts as hung in 1 s");
  const size_t failed = err.find(std::to_string(victim) + ", hangs: it is stopped");
  EXPECT_LT(named, failed) << err;
  EXPECT_NE(failed, std::string::npos) << err;
  EXPECT_TRUE(contains(err, "rank 1 (local rank 1) on host ")) << err;
  EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
}

TEST(Hang, AStoppedWorkerMayGoOn) {
  RunningLauncher launcher({"--hang-timeout=300", kWorker, "until", "stop"});
  ASSERT_TRUE(launcher.wait_for_out("until"));
  const pid_t worker = launcher.processes_of(kWorker).front();
  ::kill(worker, SIGSTOP);
  ASSERT_TRUE(launcher.wait_for_err("is stopped by SIGSTOP"));
  ::kill(worker, SIGCONT);
  ASSERT_TRUE(launcher.wait_for_err("goes on"));
  launcher.folder().file("stop", "");
  EXPECT_EQ(launcher.wait(), 0);
}

TEST(Hang, AnEndlessStepIsNamed) {
  const auto result = launch({"--nproc-per-node=2", "--hang-timeout=3", "--", "/bin/sh", "-c",
                              fmt::format("[ $RANK = 0 ] && exec {0} beat 100; exec {0} hang 100", kWorker)});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_TRUE(contains(result.err, "error: launch: rank 1 (local rank 1) on host ")) << result.err;
  EXPECT_TRUE(contains(result.err, "hangs: no heartbeat for ")) << result.err;
}

TEST(Hang, ALargeStepGetsTheTimeItSays) {
  for (const char* mode : {"large", "accelerator"}) {
    EXPECT_EQ(launch({"--hang-timeout=0.5", kWorker, mode, "1.5", "300000"}).exit_code, 0);
    const auto result = launch({"--hang-timeout=0.5", kWorker, mode, "1000", "1500"});
    EXPECT_EQ(result.exit_code, 5);
    const std::string before = "hangs: no heartbeat for ";
    const size_t at = result.err.find(before);
    ASSERT_NE(at, std::string::npos) << result.err;
    EXPECT_GE(std::stod(result.err.substr(at + before.size())), 2.0) << result.err;
  }
}

TEST(Hang, IsMendedByARestart) {
  const auto result =
      launch({"--hang-timeout=1", "--max-restarts=1", "--", "/bin/sh", "-c",
              fmt::format("[ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 0; exec {} hang 100", kWorker)});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(contains(result.err, "hangs: no heartbeat")) << result.err;
}

TEST(Hang, IsNotSeenWhereNoneIs) {
  // Beating, resting, without a first beat, or not to be looked for.
  RunningLauncher beating({"--hang-timeout=4", kWorker, "beat", "5"});
  EXPECT_EQ(launch({"--hang-timeout=0.5", kWorker, "rest", "1.5"}).exit_code, 0);
  EXPECT_EQ(launch({"--hang-timeout=0.5", "sleep", "1.5"}).exit_code, 0);
  EXPECT_EQ(launch({"--hang-timeout=0", kWorker, "hang", "1.5"}).exit_code, 0);
  EXPECT_EQ(beating.wait(), 0) << beating.err();
}

TEST(Hang, IsNotSeenWhenTheLauncherItselfStoodStill) {
  RunningLauncher launcher({"--hang-timeout=5", kWorker, "until", "stop"});
  ASSERT_TRUE(launcher.wait_for_out("until"));
  const pid_t agent = launcher.agent();
  ASSERT_GT(agent, 0);
  // The agent sees a beat, then stands still for longer than the timeout. What it did not watch does not
  // count, and the worker ends before the timeout has passed again. The outer process stands still as well,
  // so that it does not find its agent stopped.
  const auto pass = [](int milliseconds) {
    test::wait_until([] { return false; }, Milliseconds(milliseconds));
  };
  pass(500);
  launcher.signal(SIGSTOP);
  ::kill(agent, SIGSTOP);
  pass(5500);
  ::kill(agent, SIGCONT);
  launcher.signal(SIGCONT);
  launcher.folder().file("stop", "");
  EXPECT_EQ(launcher.wait(), 0) << launcher.err();
}

TEST(Hang, AStoppedAgentIsNamedAtOnceAndEndedInTime) {
  RunningLauncher launcher({"--hang-timeout=1", "--", "/bin/sh", "-c", "echo up; exec sleep 100"});
  ASSERT_TRUE(launcher.wait_for_out("up"));
  const pid_t agent = launcher.agent();
  ASSERT_GT(agent, 0);
  ::kill(agent, SIGSTOP);
  EXPECT_EQ(launcher.wait(), 5);
  EXPECT_TRUE(contains(launcher.err(),
                       fmt::format("agent (pid {}), which watches the processes, is stopped by SIGSTOP; it "
                                   "counts as hung in 1 s unless it goes on (kill -CONT {})",
                                   agent, agent)))
      << launcher.err();
  EXPECT_TRUE(contains(launcher.err(), fmt::format("agent (pid {}) hung: it was stopped for", agent)))
      << launcher.err();
  EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
}

TEST(Hang, AStoppedAgentMayGoOn) {
  RunningLauncher launcher(
      {"--hang-timeout=300", "--", "/bin/sh", "-c", "echo up; while [ ! -e stop ]; do sleep 0.05; done"});
  ASSERT_TRUE(launcher.wait_for_out("up"));
  ::kill(launcher.agent(), SIGSTOP);
  ASSERT_TRUE(launcher.wait_for_err("is stopped by SIGSTOP"));
  ::kill(launcher.agent(), SIGCONT);
  ASSERT_TRUE(launcher.wait_for_err("goes on"));
  launcher.folder().file("stop", "");
  EXPECT_EQ(launcher.wait(), 0) << launcher.err();
}

}  // namespace
}  // namespace diffract
