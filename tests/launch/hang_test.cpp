// Workers that hang, and workers that only seem to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using Clock = std::chrono::steady_clock;
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
  const auto begin = Clock::now();
  ::kill(victim, SIGSTOP);
  ASSERT_TRUE(launcher.wait_for_err("rank 1 (local rank 1) on host ", Milliseconds(900))) << launcher.err();
  EXPECT_TRUE(contains(launcher.err(), "is stopped by SIGSTOP; it counts as hung in 1 s")) << launcher.err();
  EXPECT_EQ(launcher.wait(), 5);
  EXPECT_LT(Clock::now() - begin, Milliseconds(5000));
  EXPECT_TRUE(contains(launcher.err(), std::to_string(victim) + ", hangs: it is stopped")) << launcher.err();
  EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
}

TEST(Hang, AStoppedWorkerMayGoOn) {
  RunningLauncher launcher({"--hang-timeout=20", "/bin/sh", "-c", "echo up; exec sleep 0.3"});
  ASSERT_TRUE(launcher.wait_for_out("up"));
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 0.3").size() == 1; }));
  const pid_t worker = launcher.processes_of("sleep 0.3").front();
  ::kill(worker, SIGSTOP);
  ASSERT_TRUE(launcher.wait_for_err("is stopped by SIGSTOP"));
  ::kill(worker, SIGCONT);
  ASSERT_TRUE(launcher.wait_for_err("goes on"));
  EXPECT_EQ(launcher.wait(), 0);
}

TEST(Hang, AnEndlessStepIsNamed) {
  const auto begin = Clock::now();
  const auto result = launch({"--nproc-per-node=2", "--hang-timeout=1", "--", "/bin/sh", "-c",
                              fmt::format("[ $RANK = 0 ] && exec {0} beat 100; exec {0} hang 100", kWorker)});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_LT(Clock::now() - begin, Milliseconds(10000));
  EXPECT_TRUE(contains(result.err, "error: launch: rank 1 (local rank 1) on host ")) << result.err;
  EXPECT_TRUE(contains(result.err, "hangs: no heartbeat for 1.")) << result.err;
}

TEST(Hang, ALargeStepGetsTheTimeItSays) {
  for (const char* mode : {"large", "accelerator"}) {
    EXPECT_EQ(launch({"--hang-timeout=0.5", kWorker, mode, "1.5"}).exit_code, 0);
    const auto result = launch({"--hang-timeout=0.5", kWorker, mode, "100"});
    EXPECT_EQ(result.exit_code, 5);
    EXPECT_TRUE(contains(result.err, "hangs: no heartbeat for 2.")) << result.err;
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
  EXPECT_EQ(launch({"--hang-timeout=0.5", kWorker, "beat", "1.5"}).exit_code, 0);
  EXPECT_EQ(launch({"--hang-timeout=0.5", kWorker, "rest", "1.5"}).exit_code, 0);
  EXPECT_EQ(launch({"--hang-timeout=0.5", "sleep", "1.5"}).exit_code, 0);
  EXPECT_EQ(launch({"--hang-timeout=0", kWorker, "hang", "1.5"}).exit_code, 0);
}

TEST(Hang, IsNotSeenWhenTheLauncherItselfStoodStill) {
  RunningLauncher launcher({"--hang-timeout=3", kWorker, "hang", "6"});
  ASSERT_TRUE(launcher.wait_for_out("hang"));
  const auto all = launcher.processes_of(DIFFRACT_LAUNCHER);
  ASSERT_EQ(all.size(), 2u);  // the launcher and its agent
  const pid_t agent = all[0] == launcher.pid() ? all[1] : all[0];
  // The agent sees a beat, then stands still for longer than the timeout. What it did not watch does not
  // count, and the worker ends before the timeout has passed again.
  const auto pass = [](int milliseconds) {
    test::wait_until([] { return false; }, Milliseconds(milliseconds));
  };
  pass(500);
  ::kill(agent, SIGSTOP);
  pass(3500);
  ::kill(agent, SIGCONT);
  EXPECT_EQ(launcher.wait(), 0) << launcher.err();
}

}  // namespace
}  // namespace diffract
