// Several agents on this machine, over loopback.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <random>
#include <sstream>

#include "diffract/core/file_descriptor.h"
#include "tests/launch/running_launcher.h"

namespace diffract {
namespace {

using test::contains;
using test::Milliseconds;
using test::RunningLauncher;
using Launchers = std::vector<std::unique_ptr<RunningLauncher>>;

// A port that was free a moment ago. Listened on, it stays busy for as long as the descriptor lives.
uint16_t free_port(FileDescriptor* keep = nullptr) {
  FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  if (keep) {
    ::listen(socket.get(), 16);
    *keep = std::move(socket);
  }
  return ntohs(address.sin_port);
}

// On a busy machine an agent may be silent for longer than the 3 s after which it counts as lost.
constexpr const char* kPatientAgents = "keep_alive_interval=0.5,keep_alive_max_attempt=200";

class Nodes : public ::testing::Test {
 protected:
  std::vector<std::string> fixed(int rank, int nodes = 2) const {
    return {fmt::format("--nnodes={}", nodes), fmt::format("--node-rank={}", rank),
            fmt::format("--master-port={}", port_), "--grace-period=5",
            "--rdzv-conf=" + std::string(kPatientAgents)};
  }
  std::vector<std::string> elastic(const std::string& nodes,
                                   const std::string& last_call = "0.5") const {  // s
    return {"--nnodes=" + nodes, "--rdzv-backend=c10d", fmt::format("--rdzv-endpoint=127.0.0.1:{}", port_),
            fmt::format("--rdzv-conf={},last_call_timeout={}", kPatientAgents, last_call),
            "--grace-period=5"};
  }
  static std::unique_ptr<RunningLauncher> start(std::vector<std::string> options, const std::string& script) {
    options.insert(options.end(), {"--", "/bin/sh", "-c", script});
    return std::make_unique<RunningLauncher>(options);
  }
  // The node whose agent listens on the rendezvous' port was started first.
  static bool started(const Launchers& nodes, const std::string& line, size_t times = 1) {
    return test::wait_until([&] {
      for (const auto& node : nodes)
        if (node && test::count_of(node->out(), line) < times) return false;
      return true;
    });
  }

  uint16_t port_ = free_port();
};

const char* const kSay = "echo $RANK/$WORLD_SIZE $LOCAL_RANK $GROUP_RANK $MASTER_ADDR $MASTER_PORT";

TEST_F(Nodes, StaticRanksFollowTheNodes) {
  auto one = fixed(1), zero = fixed(0);
  one.emplace_back("--nproc-per-node=2");
  auto second = start(one, kSay), first = start(zero, kSay);
  EXPECT_EQ(first->wait(), 0) << first->err();
  EXPECT_EQ(second->wait(), 0) << second->err();
  const std::string tail = first->out().substr(first->out().find(" 127.0.0.1"));
  EXPECT_EQ(first->out(), "0/3 0 0" + tail);
  EXPECT_TRUE(contains(second->out(), "1/3 0 1" + tail) && contains(second->out(), "2/3 1 1" + tail))
      << second->out();
  EXPECT_FALSE(contains(tail, fmt::format(" {}\n", port_)));  // that one is the rendezvous' own
}

TEST_F(Nodes, TheStoreIsWhereItIsAskedFor) {
  const std::string port = std::to_string(free_port());
  auto one = fixed(1), zero = fixed(0);
  for (auto* options : {&zero, &one}) options->push_back("--store-port=" + port);
  auto second = start(one, "echo $MASTER_PORT"), first = start(zero, "echo $MASTER_PORT");
  EXPECT_EQ(first->wait(), 0) << first->err();
  EXPECT_EQ(second->wait(), 0) << second->err();
  EXPECT_EQ(first->out() + second->out(), port + "\n" + port + "\n");
}

TEST_F(Nodes, TheFirstToComeIsTheHost) {
  Launchers nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(start(elastic("3"), kSay));
  std::string all;
  for (const auto& node : nodes) {
    EXPECT_EQ(node->wait(), 0) << node->err();
    all += node->out();
  }
  for (const char* part : {"0/3 0 0 ", "1/3 0 1 ", "2/3 0 2 "}) EXPECT_TRUE(contains(all, part)) << all;
}

TEST_F(Nodes, AllEndWithTheCodeOfTheFirstFailure) {
  const std::string script = "[ $RANK = 1 ] && echo broken >&2 && exit 23; exec sleep 100";
  auto first = start(fixed(0), script), second = start(fixed(1), script);
  for (auto* node : {first.get(), second.get()}) {
    EXPECT_EQ(node->wait(), 23);
    EXPECT_EQ(test::count_of(node->err(), "error: launch: rank 1 (local rank 0) on host "), 1u)
        << node->err();
    EXPECT_TRUE(contains(node->err(), "| broken")) << node->err();
    EXPECT_TRUE(node->all_gone(Milliseconds(0)));
  }
}

TEST_F(Nodes, AllStartAgainTogether) {
  const std::string script =
      "echo go $RANK; [ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 0; [ $RANK = 1 ] && exit 3; exec sleep 100";
  auto zero = fixed(0), one = fixed(1);
  for (auto* options : {&zero, &one}) options->emplace_back("--max-restarts=1");
  auto first = start(zero, script), second = start(one, script);
  EXPECT_EQ(first->wait(), 0) << first->err();
  EXPECT_EQ(second->wait(), 0) << second->err();
  EXPECT_EQ(first->out() + second->out(), "go 0\ngo 0\ngo 1\ngo 1\n");
}

TEST_F(Nodes, ALostNodeEndsAFixedJob) {
  const std::string script = "echo up; exec sleep 100";
  Launchers nodes;
  for (int i = 0; i < 2; ++i) nodes.push_back(start(fixed(i), script));
  ASSERT_TRUE(started(nodes, "up\n"));
  nodes[1]->signal(SIGKILL);
  EXPECT_EQ(nodes[0]->wait(), 5);
  EXPECT_TRUE(
      contains(nodes[0]->err(), "(node rank 1, 127.0.0.1) closed the connection. 1 of 2 machines are left"))
      << nodes[0]->err();
  nodes[1]->wait();
  EXPECT_TRUE(nodes[1]->all_gone());
}

TEST_F(Nodes, ALostHostEndsTheOthers) {
  const std::string script = "echo up; exec sleep 100";
  Launchers nodes;
  for (int i = 0; i < 2; ++i) nodes.push_back(start(fixed(i), script));
  ASSERT_TRUE(started(nodes, "up\n"));
  nodes[0]->signal(SIGKILL);
  EXPECT_EQ(nodes[1]->wait(), 5);
  EXPECT_TRUE(contains(nodes[1]->err(), "the host of the rendezvous) closed the connection"))
      << nodes[1]->err();
}

TEST_F(Nodes, AnElasticJobGoesOnWithoutALostNodeAndTakesItInAgain) {
  const std::string script =
      "echo world $WORLD_SIZE try $TORCHELASTIC_RESTART_COUNT; [ -e done ] && exit 0; exec sleep 100";
  Launchers nodes;
  nodes.push_back(start(elastic("2:3", "300"), script));
  ASSERT_TRUE(test::wait_until([&] { return nodes[0]->processes().size() == 2; }));
  for (int i = 1; i < 3; ++i) nodes.push_back(start(elastic("2:3", "300"), script));
  ASSERT_TRUE(started(nodes, "world 3 try 0\n"));
  // A node that is neither the host, whose workers have GROUP_RANK 0, ...
  nodes[2]->signal(SIGKILL);
  nodes[2]->wait();
  nodes[2].reset();
  ASSERT_TRUE(started(nodes, "world 2 try 1\n")) << nodes[0]->err();
  nodes[2] = start(elastic("2:3", "300"), script);
  ASSERT_TRUE(started(nodes, "world 3 try 2\n")) << nodes[0]->err();
  nodes[1]->signal(SIGTERM);  // a scheduler takes one away
  EXPECT_EQ(nodes[1]->wait(), 128 + SIGTERM);
  nodes[1].reset();
  ASSERT_TRUE(started(nodes, "world 2 try 3\n")) << nodes[0]->err();
  nodes[0]->signal(SIGINT);
  EXPECT_EQ(nodes[0]->wait(), 128 + SIGINT);
  EXPECT_EQ(nodes[2]->wait(), 128 + SIGINT);
}

TEST_F(Nodes, ABusyPortIsAnErrorAtOnce) {
  FileDescriptor busy;
  port_ = free_port(&busy);
  auto node = start(fixed(0), "exit 0");
  EXPECT_EQ(node->wait(), 5);
  EXPECT_TRUE(contains(node->err(), fmt::format("port {} of 127.0.0.1 is in use by another program", port_)))
      << node->err();
}

TEST_F(Nodes, WhatIsNotALauncherIsNamed) {
  FileDescriptor listener;
  port_ = free_port(&listener);
  auto node = start(fixed(1), "exit 0");
  const FileDescriptor connection(::accept(listener.get(), nullptr, nullptr));
  const std::string answer = "SSH-2.0-OpenSSH_9.2\r\n";
  ::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  EXPECT_EQ(node->wait(), 5);
  EXPECT_TRUE(contains(node->err(), fmt::format("Is it diffract launch that listens on port {}", port_)))
      << node->err();
}

TEST_F(Nodes, WrongSettingsAreRefusedByName) {
  auto first = start(fixed(0), "exit 0");
  ASSERT_TRUE(test::wait_until([&] { return first->processes().size() == 2; }));
  auto other_job = fixed(1);
  other_job.emplace_back("--rdzv-id=other");
  auto wrong = start(other_job, "exit 0");
  EXPECT_EQ(wrong->wait(), 2);
  EXPECT_TRUE(contains(wrong->err(), "--rdzv-id other, here is none")) << wrong->err();
  auto size = start(fixed(1, 3), "exit 0");
  EXPECT_EQ(size->wait(), 2);
  EXPECT_TRUE(contains(size->err(), "--nnodes 3:3, this job with 2:2")) << size->err();
  auto second = start(fixed(1), "exit 0");
  EXPECT_EQ(second->wait(), 0) << second->err();
  EXPECT_EQ(first->wait(), 0) << first->err();
}

TEST_F(Nodes, AMissingNodeIsNamedInTime) {
  auto options = fixed(0, 3);
  options.emplace_back("--rdzv-conf=join_timeout=1");
  auto alone = start(options, "exit 0");
  EXPECT_EQ(alone->wait(), 5);
  EXPECT_TRUE(contains(alone->err(), "1 of 3 machines came within 1 s")) << alone->err();
  EXPECT_TRUE(contains(alone->err(), "missing: node rank 1, 2)")) << alone->err();
  auto guest_options = fixed(1, 3);
  guest_options.emplace_back("--rdzv-conf=join_timeout=1");
  auto guest = start(guest_options, "exit 0");
  EXPECT_EQ(guest->wait(), 5);
  EXPECT_TRUE(contains(guest->err(), fmt::format("port {}", port_))) << guest->err();
  auto nowhere = fixed(1, 3);
  nowhere.insert(nowhere.end(), {"--rdzv-conf=join_timeout=1", "--master-addr=no-such-host.invalid"});
  auto lost = start(nowhere, "exit 0");
  EXPECT_EQ(lost->wait(), 5);
  EXPECT_TRUE(contains(lost->err(), "no-such-host.invalid")) << lost->err();
}

// What has no end of its own here is killed with the launcher.
TEST_F(Nodes, WhatAMachineWaitsForIsSaid) {
  auto nowhere = fixed(1);
  nowhere.emplace_back("--master-addr=no-such-host.invalid");
  auto lost = start(nowhere, "exit 0"), early = start(fixed(1, 3), "exit 0");
  EXPECT_TRUE(lost->wait_for_err(fmt::format(
      "waiting for the first machine at no-such-host.invalid:{} (the name does not resolve: ", port_)))
      << lost->err();
  EXPECT_TRUE(early->wait_for_err(
      fmt::format("waiting for the first machine at 127.0.0.1:{} (Connection refused), ", port_)))
      << early->err();
  auto first = start(fixed(0, 3), "exit 0");
  EXPECT_TRUE(first->wait_for_err("waiting: 2 of 3 machines have come to")) << first->err();
  EXPECT_TRUE(contains(first->err(), "missing: node rank 2)")) << first->err();
  EXPECT_TRUE(early->wait_for_err("is reached; waiting there for the other machines")) << early->err();
}

// DIFFRACT_CONNECTIONS: how many; the slow run sets 100000.
TEST_F(Nodes, RandomBytesDoNotDisturbAJob) {
  const char* wanted = std::getenv("DIFFRACT_CONNECTIONS");
  const int connections = wanted ? std::atoi(wanted) : 500;
  const std::string script = "echo up; while [ ! -e stop ]; do sleep 0.05; done";
  Launchers nodes;
  for (int i = 0; i < 2; ++i) nodes.push_back(start(fixed(i), script));
  ASSERT_TRUE(started(nodes, "up\n"));
  std::mt19937 random(3);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  const std::string join = R"({"type":"join","diffract":1,"id":"none","host":"x")";
  int connected = 0;
  for (int i = 0; i < connections; ++i) {
    const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
    ++connected;
    std::string bytes(std::uniform_int_distribution<size_t>(0, 3000)(random), '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (i % 4 == 1)
      bytes = join.substr(0, std::uniform_int_distribution<size_t>(0, join.size())(random)) + "}\n" + bytes;
    if (i % 4 == 2)
      bytes = R"({"type":"failed"})"
              "\n"
              R"({"type":"end","exit_code":0})"
              "\n";
    ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    const linger at_once{.l_onoff = 1, .l_linger = 0};  // no TIME_WAIT, or the ports would run out
    if (i % 8 != 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  EXPECT_EQ(connected, connections);
  for (const auto& node : nodes) node->folder().file("stop", "");
  for (const auto& node : nodes) EXPECT_EQ(node->wait(), 0) << node->err();
}

TEST_F(Nodes, TheRendezvousListensOnItsOwnAddressOnly) {
  auto first = start(fixed(0), "exit 0");
  const auto listeners = [&] {  // of /proc/net/tcp: "sl local_address rem_address st", state 0A, port in hex
    const auto table = test::launch({"cat", "/proc/net/tcp", "/proc/net/tcp6"}).out;
    std::string found;
    std::istringstream in(table);
    for (std::string line; std::getline(in, line);)
      if (contains(line, fmt::format(":{:04X} ", port_)) && contains(line, " 0A ")) found += line + "\n";
    return found;
  };
  ASSERT_TRUE(test::wait_until([&] { return !listeners().empty(); }));
  const std::string found = listeners();
  EXPECT_EQ(test::count_of(found, "\n"), 1u) << found;
  EXPECT_TRUE(contains(found, "0100007F:")) << found;  // 127.0.0.1
}

}  // namespace
}  // namespace diffract
