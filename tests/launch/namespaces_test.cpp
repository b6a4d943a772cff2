// Three hosts: network namespaces joined by a bridge, each with an address of its own. One is cut off by
// taking its cable away, without any of its programs being told.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <memory>

#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using test::contains;
using test::Milliseconds;
using test::RunningLauncher;

int sh(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()); }

class ThreeHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    bool made =
        sh(fmt::format("ip netns add {0} && ip -n {0} link add br0 type bridge && ip -n {0} link set br0 up",
                       name("s"))) == 0;
    for (int host = 1; made && host <= 3; ++host)
      made = sh(fmt::format("ip netns add {0} && ip -n {0} link set lo up && "
                            "ip link add eth0 netns {0} type veth peer name p{1} netns {2} && "
                            "ip -n {2} link set p{1} master br0 up && "
                            "ip -n {0} addr add 10.77.0.{1}/24 dev eth0 && ip -n {0} link set eth0 up",
                            name(std::to_string(host)), host, name("s"))) == 0;
    if (!made) GTEST_SKIP() << "no network namespaces: needs root and iproute2 (ip netns, veth, bridge)";
  }
  void TearDown() override {
    nodes_.clear();
    for (const char* part : {"1", "2", "3", "s"}) sh("ip netns del " + name(part));
  }

  static std::string name(const std::string& part) { return fmt::format("diffract-{}-{}", ::getpid(), part); }
  void start(int host, std::vector<std::string> options, const std::string& script) {
    options.insert(options.end(), {"--grace-period=2", "--", "/bin/sh", "-c", script});
    const RunningLauncher::Setting setting{
        .wrapper = {"/usr/bin/env", "ip", "netns", "exec", name(std::to_string(host))}};
    nodes_.push_back(std::make_unique<RunningLauncher>(options, setting));
  }
  void start_elastic(const std::string& nodes, const std::string& script) {
    for (int host = 1; host <= 3; ++host)
      start(host,
            {"--nnodes=" + nodes, "--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.1:29400",
             // 8 s of silence: on a busy machine one that is there may be silent for 3 s.
             "--rdzv-conf=last_call_timeout=300,keep_alive_interval=0.5,keep_alive_max_attempt=16"},
            script);
  }
  bool all_say(const std::string& line) const {
    return test::wait_until([&] {
      for (const auto& node : nodes_)
        if (!contains(node->out(), line)) return false;
      return true;
    });
  }
  static void cut_off(int host) {
    ASSERT_EQ(sh(fmt::format("ip -n {} link set p{} down", name("s"), host)), 0);
  }

  std::vector<std::unique_ptr<RunningLauncher>> nodes_;
};

TEST_F(ThreeHosts, RunAJobTogether) {
  for (int host = 1; host <= 3; ++host)
    start(host,
          {"--nnodes=3", fmt::format("--node-rank={}", host - 1), "--master-addr=10.77.0.1",
           "--nproc-per-node=2"},
          // Every rank reaches the store's port on the first host, where rank 0 listens.
          "exec python3 -c '\n"
          "import os, socket, time\n"
          "rank, at = int(os.environ[\"RANK\"]), (os.environ[\"MASTER_ADDR\"], "
          "int(os.environ[\"MASTER_PORT\"]))\n"
          "if rank == 0:\n"
          "  s = socket.create_server(at); s.settimeout(120)\n"
          "  print(sorted(int(s.accept()[0].recv(9)) for _ in range(5)))\n"
          "else:\n"
          "  end = time.time() + 120\n"
          "  while True:\n"
          "    try: c = socket.create_connection(at, 1); break\n"
          "    except OSError:\n"
          "      if time.time() > end: raise\n"
          "      time.sleep(0.05)\n"
          "  c.send(str(rank).encode())\n'");
  for (const auto& node : nodes_) EXPECT_EQ(node->wait(), 0) << node->err();
  EXPECT_EQ(nodes_[0]->out(), "[1, 2, 3, 4, 5]\n");
}

TEST_F(ThreeHosts, OneCutOffIsNoticedAndTheRestGoOn) {
  start_elastic("2:3", "echo world $WORLD_SIZE; [ $WORLD_SIZE = 2 ] && exit 0; exec sleep 100");
  ASSERT_TRUE(all_say("world 3\n")) << nodes_[0]->err();
  cut_off(3);
  ASSERT_TRUE(nodes_[0]->wait_for_err("was lost: no word for")) << nodes_[0]->err();
  EXPECT_TRUE(contains(nodes_[0]->err(), "(10.77.0.3) was lost")) << nodes_[0]->err();
  EXPECT_EQ(nodes_[0]->wait(), 0) << nodes_[0]->err();
  EXPECT_EQ(nodes_[1]->wait(), 0) << nodes_[1]->err();
  EXPECT_TRUE(contains(nodes_[0]->out(), "world 2\n"));
  // The one that was cut off ends, too, and says why.
  EXPECT_EQ(nodes_[2]->wait(), 5);
  EXPECT_TRUE(
      contains(nodes_[2]->err(), "host 10.77.0.1 (10.77.0.1:29400, the host of the rendezvous) was lost"))
      << nodes_[2]->err();
}

TEST_F(ThreeHosts, OneCutOffEndsAJobThatNeedsAll) {
  start_elastic("3", "echo up; exec sleep 100");
  ASSERT_TRUE(all_say("up\n")) << nodes_[0]->err();
  cut_off(2);
  EXPECT_EQ(nodes_[0]->wait(), 5);
  EXPECT_EQ(nodes_[2]->wait(), 5);
  for (const auto* node : {nodes_[0].get(), nodes_[2].get()}) {
    EXPECT_TRUE(contains(node->err(), "10.77.0.2) was lost: no word for")) << node->err();
    EXPECT_TRUE(contains(node->err(), "2 of 3 machines are left, and --nnodes wants at least 3"))
        << node->err();
    EXPECT_TRUE(node->all_gone(Milliseconds(0)));
  }
  EXPECT_EQ(nodes_[1]->wait(), 5);
}

}  // namespace
}  // namespace diffract
