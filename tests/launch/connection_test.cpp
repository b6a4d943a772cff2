// Messages between agents, and what is none.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <random>

#include "diffract/core/error.h"
#include "diffract/launch/connection.h"
#include "diffract/launch/messages.h"
#include "tests/launch/running_launcher.h"

namespace diffract::launch {
namespace {

using test::contains;

// A connection, and the test's end of it.
class ConnectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    far_ = FileDescriptor(ends[1]);
    connection_ = std::make_unique<Connection>(
        reactor_, FileDescriptor(ends[0]),
        Connection::Events{.message = [this](const Json& m) { messages_.push_back(m); },
                           .closed = [this](const std::string& why) { closed_ = why; }});
  }
  void send(std::string_view bytes) {
    ::send(far_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 50; ++i) reactor_.run_once(std::chrono::milliseconds(1));
  }

  Reactor reactor_;
  FileDescriptor far_;
  std::unique_ptr<Connection> connection_;
  std::vector<Json> messages_;
  std::string closed_;
};

TEST_F(ConnectionTest, ReadsMessagesHoweverTheyAreCut) {
  for (const char c : std::string("{\"type\":\"beat\"}\n{\"type\"")) send({&c, 1});
  send(":\"stop\"}\n");
  ASSERT_EQ(messages_.size(), 2u);
  EXPECT_EQ(messages_[1]["type"], "stop");
  EXPECT_EQ(closed_, "");
}

TEST_F(ConnectionTest, ClosesOnAnythingElse) {
  send("GET / HTTP/1.1\n");
  EXPECT_TRUE(contains(closed_, "sent what diffract launch does not")) << closed_;
}

TEST_F(ConnectionTest, ClosesOnALineWithoutEnd) {
  const std::string part(60000, 'x');
  send(part);
  EXPECT_EQ(closed_, "");
  send(part);
  EXPECT_TRUE(contains(closed_, "without an end of line")) << closed_;
}

TEST_F(ConnectionTest, ClosesOnDeepNestingAndOnOtherValues) {
  send("[1]\n");
  EXPECT_TRUE(contains(closed_, "no JSON object"));
}

TEST_F(ConnectionTest, SaysThatTheOtherSideIsGone) {
  far_.reset();
  for (int i = 0; i < 10; ++i) reactor_.run_once(std::chrono::milliseconds(5));
  EXPECT_EQ(closed_, "closed the connection");
}

TEST_F(ConnectionTest, DoesNotWaitForAReaderThatStandsStill) {
  const Json large = {{"text", std::string(50000, 'x')}};
  for (int i = 0; i < 500; ++i) connection_->send(large);  // 25 MB; returns
  EXPECT_EQ(closed_, "");
}

TEST(Messages, ComeBackAsTheyWere) {
  const NodeInfo info{.host = "h",
                      .address = "10.0.0.1",
                      .role = "r",
                      .processes = 3,
                      .node_rank = 2,
                      .port = 99,
                      .min_nodes = 1,
                      .max_nodes = 4};
  const NodeInfo read = read_join(join_message(info, "id"), "id");
  EXPECT_EQ(std::tie(read.host, read.address, read.role, read.processes, read.node_rank, read.port,
                     read.min_nodes, read.max_nodes),
            std::tie(info.host, info.address, info.role, info.processes, info.node_rank, info.port,
                     info.min_nodes, info.max_nodes));
  EXPECT_TRUE(contains(test::error_of<UsageError>([&] { read_join(join_message(info, "id"), "other"); }),
                       "--rdzv-id id, here is other"));
  const Assignment a{.restart_count = 1,
                     .group_rank = 2,
                     .group_size = 3,
                     .first_rank = 4,
                     .world_size = 9,
                     .first_role_rank = 1,
                     .role_world_size = 5,
                     .master_addr = "m",
                     .master_port = 7};
  const Assignment b = read_start(start_message(a));
  EXPECT_EQ(std::tie(b.restart_count, b.group_rank, b.group_size, b.first_rank, b.world_size,
                     b.first_role_rank, b.role_world_size, b.master_addr, b.master_port),
            std::tie(a.restart_count, a.group_rank, a.group_size, a.first_rank, a.world_size,
                     a.first_role_rank, a.role_world_size, a.master_addr, a.master_port));
  const Outcome end{.exit_code = 9,
                    .message = "m",
                    .failure = WorkerFailure{
                        .host = "h", .rank = 1, .exit_code = 9, .message = "bad", .last_lines = "\xff\n"}};
  const Outcome again = read_end(Json::parse(end_message(end).dump()));
  EXPECT_EQ(again.exit_code, 9);
  EXPECT_EQ(again.failure->message, "bad");
  EXPECT_EQ(again.failure->last_lines, "\xef\xbf\xbd\n");
}

// Every message with each field missing, of another type or out of range: refused by name, never a crash.
TEST(Messages, AreReadStrictly) {
  const WorkerFailure failure{.host = "h", .rank = 1, .exit_code = 9, .message = "bad"};
  const std::vector<std::pair<Json, std::function<void(const Json&)>>> kinds = {
      {join_message({.host = "h", .address = "a", .port = 1}, "id"),
       [](const Json& m) { read_join(m, "id"); }},
      {start_message({.master_port = 1}), [](const Json& m) { read_start(m); }},
      {end_message({.exit_code = 1}), [](const Json& m) { read_end(m); }},
      {failure.to_json(), [](const Json& m) { WorkerFailure::from_json(m, "failed"); }}};
  int refused = 0;
  for (const auto& [sound, read] : kinds) {
    EXPECT_NO_THROW(read(sound));
    for (const auto& [key, value] : sound.items()) {
      if (key == "type") continue;
      for (const Json& wrong :
           {Json(nullptr), Json(-7), Json(1e300), Json("x"), Json(Json::array()), Json(1LL << 60)}) {
        Json damaged = sound;
        damaged[key] = wrong;
        if (wrong.is_string() && value.is_string()) continue;
        EXPECT_THROW(read(damaged), CheckpointError) << key << " = " << wrong;
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 150);
}

}  // namespace
}  // namespace diffract::launch
