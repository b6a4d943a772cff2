// A store whose process dies, hangs, or is shot at with random bytes.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>
#include <random>

#include "diffract/distributed/store.h"
#include "tests/distributed/ranks.h"
#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::RunningProcess;

// c10d's greeting; what follows it is parsed as commands.
const std::string kGreeting("\x00\xce\xf7\x85\x3c", 5);

class ServedStore : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server_.wait_for_output("."));
    const std::string said = server_.output();
    ASSERT_TRUE(said.starts_with("port ")) << said;
    at_.port = static_cast<uint16_t>(std::stoi(said.substr(5)));
  }
  Store connect(std::chrono::milliseconds timeout) const {
    return Store::connect(at_, {.who = "rank 1 of 2", .timeout = timeout});
  }

  // As connect, with a short timeout that must not count before the test begins.
  Store connect_impatiently(std::chrono::milliseconds timeout) const {
    for (int tries = 0;; ++tries) try {
        return connect(timeout);
      } catch (const PeerError&) {
        if (tries == 100) throw;
      }
  }

  // The call must fail long before `within`, and name who, where and the port.
  template <typename Call>
  void expect_lost(Call&& call, std::chrono::milliseconds within) const {
    const auto begin = std::chrono::steady_clock::now();
    const std::string error = test::error_of<PeerError>(std::forward<Call>(call));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, within);
    test::expect_contains(error, {"rank 1 of 2: ", "127.0.0.1", std::to_string(at_.port)});
  }

  RunningProcess server_{{DIFFRACT_WORKER, "serve_store"}, {}};
  net::Endpoint at_{.host = "127.0.0.1", .port = 0};
};

TEST_F(ServedStore, ThatDiesIsNamed) {
  Store store = connect(250s), other = store.another_connection();
  store.set("a", "1");
  EXPECT_EQ(store.get("a"), "1");
  server_.signal(SIGKILL);
  EXPECT_EQ(server_.wait().exit_code, 137);
  expect_lost([&] { store.get("a"); }, 200s);
  expect_lost([&] { store.add("n", 1); }, 200s);  // and stays so
  expect_lost([&] { other.wait({"never"}, 250s); }, 200s);
}

TEST_F(ServedStore, ThatDiesDuringAWaitIsNamedAtOnce) {
  Store store = connect(250s);
  RunningProcess killer({"sh", "-c", "sleep 0.3; kill -9 " + std::to_string(server_.pid())}, {});
  expect_lost([&] { store.wait({"never"}, 250s); }, 200s);
}

TEST_F(ServedStore, ThatIsStoppedDoesNotHoldItsClients) {
  Store store = connect_impatiently(500ms);
  server_.signal(SIGSTOP);
  expect_lost([&] { store.wait({"never"}, 300ms); }, 200s);
  expect_lost([&] { store.add("n", 1); }, 200s);
  expect_lost([&] { connect(500ms); }, 200s);
}

// DIFFRACT_CONNECTIONS: how many; the slow run sets 100000.
TEST_F(ServedStore, SurvivesRandomBytes) {
  const char* wanted = std::getenv("DIFFRACT_CONNECTIONS");
  const int connections = wanted ? std::atoi(wanted) : 2000;
  Store store = connect(200s);
  store.set("value", "kept");
  std::mt19937 random(7);
  std::vector<FileDescriptor> open;  // some stay open, silent or in the middle of a command
  for (int i = 0; i < connections; ++i) {
    FileDescriptor socket = net::connect_to(at_, net::Deadline(120s), "the test");
    std::string bytes = random() % 2 == 0 ? kGreeting : "";
    if (!bytes.empty() && random() % 2 == 0)
      bytes += static_cast<char>(random() % 20);  // a command that exists
    const size_t length = random() % (random() % 8 == 0 ? 65536 : 64);
    while (bytes.size() < length) bytes += static_cast<char>(random());
    (void)!::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);  // it may have hung up already
    if (random() % 16 == 0) {
      if (open.size() >= 64) open.erase(open.begin());
      open.push_back(std::move(socket));
    } else {
      const linger at_once{.l_onoff = 1, .l_linger = 0};  // no TIME_WAIT, or the ports would run out
      ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    if (i % 100 == 0) {
      ASSERT_EQ(store.add("round", 1), i / 100 + 1);
    }
  }
  EXPECT_EQ(connect(120s).get("value"), "kept");
  server_.signal(SIGTERM);
  EXPECT_EQ(server_.wait().exit_code, 128 + SIGTERM) << "it was alive to the end";
}

}  // namespace
}  // namespace diffract::distributed
