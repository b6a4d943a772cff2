// No process outlives the launcher, and none but its own is touched.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>

#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using test::Milliseconds;
using test::RunningLauncher;

const std::string kWorker = DIFFRACT_LAUNCH_WORKER;

// Two workers; each has a child in its group and a grandchild in a session of its own that ignores SIGTERM.
std::vector<std::string> family() {
  return {"--nproc-per-node=2", "--", "/bin/sh", "-c",
          fmt::format("sleep 300 & (trap '' TERM; setsid sleep 301 &) ; exec {} leave 300", kWorker)};
}

TEST(Orphans, NoneAfterTheLauncherIsKilledAtAnyPoint) {
  std::mt19937 random(7);
  for (int i = 0; i < 20; ++i) {
    RunningLauncher launcher(family());
    // From the first instruction to long after all are up (about 100 ms).
    std::this_thread::sleep_for(Milliseconds(std::uniform_int_distribution(0, 300)(random)));
    const auto before = launcher.processes().size();
    launcher.signal(SIGKILL);
    EXPECT_EQ(launcher.wait(), 128 + SIGKILL);
    EXPECT_TRUE(launcher.all_gone()) << "round " << i << ", " << before
                                     << " before; left: " << launcher.processes().front().command;
  }
}

TEST(Orphans, NoneAfterTheAgentIsKilled) {
  RunningLauncher launcher(family());
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 301").size() >= 2; }));
  ASSERT_GT(launcher.agent(), 0);
  ::kill(launcher.agent(), SIGKILL);
  EXPECT_EQ(launcher.wait(), 128 + SIGKILL);
  EXPECT_TRUE(test::contains(launcher.err(), "agent")) << launcher.err();
  EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
}

TEST(Orphans, NoneWhenTheAgentWasStoppedBefore) {
  RunningLauncher launcher(family());
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 301").size() >= 2; }));
  ::kill(launcher.agent(), SIGSTOP);
  launcher.signal(SIGKILL);
  launcher.wait();
  EXPECT_TRUE(launcher.all_gone());
}

TEST(Orphans, NoWorkerOutlivesBoth) {
  RunningLauncher launcher({"--nproc-per-node=2", kWorker, "beat", "300"});
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of(kWorker).size() == 2; }));
  const pid_t agent = launcher.agent();
  launcher.signal(SIGSTOP);  // so that it cannot clean up for the agent
  ::kill(agent, SIGKILL);
  launcher.signal(SIGKILL);
  EXPECT_EQ(launcher.wait(), 128 + SIGKILL);
  EXPECT_TRUE(launcher.all_gone());
}

TEST(Orphans, NoneAfterSuccessFailureOrASignal) {
  for (const std::string end : {"exit 0", "exit 3", "kill -TERM $PPID; exec sleep 300"}) {
    RunningLauncher launcher(
        {"--grace-period=1", "--", "/bin/sh", "-c",
         fmt::format("sleep 300 & (trap '' TERM; setsid sleep 301 &) ; sleep 0.1; {}", end)});
    const int code = launcher.wait();
    EXPECT_EQ(code, end == "exit 0" ? 0 : end == "exit 3" ? 3 : 128 + SIGTERM) << launcher.err();
    EXPECT_TRUE(launcher.all_gone(Milliseconds(0))) << end;
  }
}

// A kernel before 5.3, or a sandbox that forbids the calls.
TEST(Orphans, NoneWhereThereAreNoPidfds) {
  const RunningLauncher::Setting setting{.environment = {{"LAUNCHER_WITHOUT_PIDFD", "1"}}};
  const auto ended = test::launch({"--", "/bin/sh", "-c", "exit 3"}, setting);
  if (ended.exit_code == 99)
    GTEST_SKIP() << "this sandbox takes no filter: a kernel without pidfds was not tested";
  EXPECT_EQ(ended.exit_code, 3) << ended.err;
  RunningLauncher launcher(family(), setting);
  ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 301").size() >= 2; }));
  launcher.signal(SIGTERM);
  ASSERT_TRUE(launcher.wait_for_err("a second signal ends them at once"));
  launcher.signal(SIGTERM);
  EXPECT_EQ(launcher.wait(), 128 + SIGTERM);
  EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
  RunningLauncher killed(family(), setting);
  ASSERT_TRUE(test::wait_until([&] { return killed.processes_of("sleep 301").size() >= 2; }));
  killed.signal(SIGKILL);
  killed.wait();
  EXPECT_TRUE(killed.all_gone());
}

TEST(Orphans, StrangersAreLeftAlone) {
  pid_t neighbour = -1;
  {
    RunningLauncher launcher(family());
    ASSERT_TRUE(test::wait_until([&] { return launcher.processes_of("sleep 301").size() >= 2; }));
    // In the launcher's own process group, but not started by it.
    neighbour = ::fork();
    ASSERT_GE(neighbour, 0);
    if (neighbour == 0) {
      ::setpgid(0, launcher.pid());
      ::execl("/bin/sleep", "sleep", "60", nullptr);
      ::_exit(127);
    }
    launcher.signal(SIGTERM);
    ASSERT_TRUE(launcher.wait_for_err("a second signal ends them at once"));
    launcher.signal(SIGTERM);
    EXPECT_EQ(launcher.wait(), 128 + SIGTERM);
    EXPECT_TRUE(launcher.all_gone(Milliseconds(0)));
  }
  EXPECT_EQ(::waitpid(neighbour, nullptr, WNOHANG), 0);
  ::kill(neighbour, SIGKILL);
  ::waitpid(neighbour, nullptr, 0);
}

}  // namespace
}  // namespace diffract
