// The store over real sockets on loopback, and what its errors say.
#include "diffract/distributed/store.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;

const net::Endpoint kAnyPort{.host = "127.0.0.1", .port = 0};

template <typename Call>
std::string peer_error(Call&& call) {
  return test::error_of<PeerError>(std::forward<Call>(call));
}

void expect_names(const std::string& message, const net::Endpoint& at, const std::string& who) {
  EXPECT_NE(message.find(at.host), std::string::npos) << message;
  EXPECT_NE(message.find(std::to_string(at.port)), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with(who + ": ")) << message;
}

bool has_ipv6() {
  try {
    net::listen_on({.host = "::1", .port = 0}, "the test");
    return true;
  } catch (const PeerError&) {
    return false;
  }
}

TEST(Store, KeepsValues) {
  Store server = Store::serve(kAnyPort);
  Store client = Store::connect(server.endpoint());
  client.set("a", "value");
  EXPECT_EQ(server.get("a"), "value");
  client.set("empty", "");
  EXPECT_EQ(server.get("empty"), "");
  const std::string binary("\0\xff\n", 3);
  client.set("binary", binary);
  EXPECT_EQ(server.get("binary"), binary);
  EXPECT_EQ(client.add("n", 5), 5);
  EXPECT_EQ(server.add("n", 2), 7);
  EXPECT_EQ(server.get("n"), "7");
  EXPECT_TRUE(client.check({"a", "n"}));
  EXPECT_FALSE(client.check({"a", "none"}));
  EXPECT_TRUE(client.delete_key("a"));
  EXPECT_FALSE(client.delete_key("a"));
  EXPECT_FALSE(server.check({"a"}));
}

TEST(Store, SetsOnCompare) {
  Store store = Store::serve(kAnyPort);
  EXPECT_EQ(store.compare_set("owner", "", "first"), "first");
  EXPECT_EQ(store.compare_set("owner", "", "second"), "first");
  EXPECT_EQ(store.compare_set("owner", "first", "third"), "third");
}

TEST(Store, KeepsPrefixesApart) {
  Store store = Store::serve(kAnyPort);
  Store a = store.with_prefix("a"), deep = a.with_prefix("b").another_connection();
  deep.set("key", "1");
  EXPECT_TRUE(store.check({"a/b/key"}));
  EXPECT_FALSE(a.check({"key"}));
}

TEST(Store, WaitsForAnotherConnection) {
  Store store = Store::serve(kAnyPort);
  std::thread setter([other = store.another_connection()]() mutable { other.set("late", "x"); });
  EXPECT_EQ(store.get("late", 120s), "x");
  setter.join();
}

TEST(Store, NamesTheKeyThatDidNotCome) {
  Store store = Store::serve(kAnyPort, {.who = "rank 1 of 2"});
  store.set("there", "");
  EXPECT_FALSE(store.wait_for({"not there"}, 50ms));
  const std::string error = peer_error([&] { store.wait({"there", "not there"}, 50ms); });
  expect_names(error, store.endpoint(), "rank 1 of 2");
  EXPECT_NE(error.find("nobody set not there"), std::string::npos) << error;
  store.set("not there", "");  // the connection is still good
  EXPECT_TRUE(store.wait_for({"there", "not there"}, 120s));
}

TEST(Store, RefusesValuesThatWouldKillTheConnection) {
  Store store = Store::serve(kAnyPort);
  EXPECT_THROW(store.set("large", std::string(8 << 20, 'x')), UsageError);
  store.set("large", std::string((8 << 20) - 1, 'x'));
  EXPECT_EQ(store.get("large").size(), (8u << 20) - 1);
}

TEST(Store, ListensOnItsAddressOnly) {
  const Store store = Store::serve(kAnyPort);
  // 127.0.0.2 is loopback too; a server on all addresses would answer there.
  EXPECT_THROW(
      net::connect_to({.host = "127.0.0.2", .port = store.endpoint().port}, net::Deadline(100ms), "the test"),
      PeerError);
  const Store other = Store::serve({.host = "127.0.0.2", .port = store.endpoint().port});
  EXPECT_EQ(other.endpoint().host, "127.0.0.2");
}

TEST(Store, ServesIpv6) {
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 on this machine: a store on ::1";
  Store store = Store::serve({.host = "::1", .port = 0});
  Store client = Store::connect(store.endpoint());
  client.set("a", "6");
  EXPECT_EQ(store.get("a"), "6");
}

TEST(Store, NamesABusyPort) {
  const Store store = Store::serve(kAnyPort);
  const std::string error =
      test::error_of<net::PortInUse>([&] { Store::serve(store.endpoint(), {.who = "rank 0 of 2"}); });
  expect_names(error, store.endpoint(), "rank 0 of 2");
  EXPECT_NE(error.find("in use"), std::string::npos) << error;
}

TEST(Store, NamesAHostThatDoesNotResolve) {
  const net::Endpoint nowhere{.host = "no-such-host.invalid", .port = 29500};
  const std::string error =
      peer_error([&] { Store::connect(nowhere, {.who = "rank 1 of 2", .timeout = 300ms}); });
  expect_names(error, nowhere, "rank 1 of 2");
  expect_names(peer_error([&] { Store::serve(nowhere, {.who = "rank 0 of 2"}); }), nowhere, "rank 0 of 2");
}

TEST(Store, NamesAnAddressThatIsNotOfThisMachine) {
  const net::Endpoint elsewhere{.host = "192.0.2.1", .port = 29500};  // reserved for documentation
  expect_names(peer_error([&] { Store::serve(elsewhere, {.who = "rank 0 of 2"}); }), elsewhere,
               "rank 0 of 2");
}

TEST(Store, NamesAPortWhereNobodyListens) {
  const net::Endpoint free = net::listen_on(kAnyPort, "the test").at;
  const std::string error =
      peer_error([&] { Store::connect(free, {.who = "rank 1 of 2", .timeout = 300ms}); });
  expect_names(error, free, "rank 1 of 2");
}

TEST(Store, KnowsAPortWhereAnotherProgramListens) {
  const net::Listener mute = net::listen_on(kAnyPort, "the test");  // accepts and never says a word
  const std::string error =
      peer_error([&] { Store::connect(mute.at, {.who = "rank 1 of 2", .timeout = 300ms}); });
  expect_names(error, mute.at, "rank 1 of 2");
  EXPECT_NE(error.find("another program"), std::string::npos) << error;
}

}  // namespace
}  // namespace diffract::distributed
