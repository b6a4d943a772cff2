// The coordinator's decisions, with nodes that only note their orders and a clock that the test moves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>

#include "diffract/core/error.h"
#include "diffract/launch/coordinator.h"
#include "tests/launch/running_launcher.h"

namespace diffract::launch {
namespace {

using test::contains;

struct FakeNode : NodeLink {
  void start(const Assignment& assignment) override {
    log += "start ";
    assigned = assignment;
  }
  void stop(const std::string& why) override {
    log += "stop ";
    reason = why;
  }
  void end(const Outcome& how) override {
    log += "end ";
    outcome = how;
  }
  std::string log, reason;
  Assignment assigned;
  Outcome outcome;
};

class CoordinatorTest : public ::testing::Test {
 protected:
  Coordinator& make(int min_nodes, int max_nodes, bool dynamic, int max_restarts = 0) {
    options_.min_nodes = min_nodes;
    options_.max_nodes = max_nodes;
    options_.rendezvous.dynamic = dynamic;
    options_.max_restarts = max_restarts;
    coordinator_ = std::make_unique<Coordinator>(
        options_, [](const WorkerFailure& failure) { return failure.exit_code != 2; }, now_);
    return *coordinator_;
  }
  NodeInfo info(int rank, int processes = 1) const {
    return {.host = fmt::format("h{}", rank),
            .address = fmt::format("10.0.0.{}", rank),
            .processes = processes,
            .node_rank = rank,
            .port = static_cast<uint16_t>(5000 + rank),
            .min_nodes = options_.min_nodes,
            .max_nodes = options_.max_nodes};
  }
  void pass(double seconds) {
    now_ += std::chrono::duration_cast<Coordinator::Clock::duration>(Seconds(seconds));
    coordinator_->tick(now_);
  }
  static WorkerFailure failure(int rank, int code) {
    return {.host = "h", .rank = rank, .exit_code = code, .message = "ended badly"};
  }

  LaunchOptions options_;
  Coordinator::Time now_{};
  std::unique_ptr<Coordinator> coordinator_;
  FakeNode a_, b_, c_;
};

TEST_F(CoordinatorTest, NumbersNodesByTheirRankAndProcessesThroughAll) {
  auto& c = make(3, 3, false);
  auto second = info(1, 3);
  second.role = "other";
  c.joined(&b_, info(2, 2), now_);
  c.joined(&a_, info(0, 1), now_);
  EXPECT_EQ(a_.log, "");
  c.joined(&c_, second, now_);
  EXPECT_EQ(a_.log + b_.log + c_.log, "start start start ");
  EXPECT_EQ(std::tie(a_.assigned.group_rank, a_.assigned.first_rank, a_.assigned.first_role_rank),
            std::make_tuple(0, 0, 0));
  EXPECT_EQ(std::tie(c_.assigned.group_rank, c_.assigned.first_rank, c_.assigned.first_role_rank),
            std::make_tuple(1, 1, 0));
  EXPECT_EQ(std::tie(b_.assigned.group_rank, b_.assigned.first_rank, b_.assigned.first_role_rank),
            std::make_tuple(2, 4, 1));
  EXPECT_EQ(std::tie(b_.assigned.group_size, b_.assigned.world_size, b_.assigned.role_world_size),
            std::make_tuple(3, 6, 3));
  EXPECT_EQ(b_.assigned.master_addr, "10.0.0.0");
  EXPECT_EQ(b_.assigned.master_port, 5000);
}

TEST_F(CoordinatorTest, RefusesNodesThatDoNotFit) {
  auto& c = make(2, 2, false);
  c.joined(&a_, info(0), now_);
  const auto refusal = [&](const NodeInfo& node) {
    return test::error_of<UsageError>([&] { c.joined(&b_, node, now_); });
  };
  EXPECT_TRUE(contains(refusal(info(0)), "--node-rank 0, which host h0 has already"));
  EXPECT_TRUE(contains(refusal(info(2)), "expected 0 to 1"));
  auto other = info(1);
  other.max_nodes = 3;
  EXPECT_TRUE(contains(refusal(other), "--nnodes 2:3, this job with 2:2"));
  c.joined(&b_, info(1), now_);
  EXPECT_EQ(b_.log, "start ");
}

TEST_F(CoordinatorTest, WaitsForMoreThanTheFewestUntilTheLastCall) {
  auto& c = make(2, 3, true);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  pass(29);
  EXPECT_EQ(a_.log, "");
  pass(2);
  EXPECT_EQ(a_.log + b_.log, "start start ");
  EXPECT_EQ(a_.assigned.world_size, 2);
}

TEST_F(CoordinatorTest, NamesWhoDidNotCome) {
  auto& c = make(3, 3, false);
  c.joined(&a_, info(0), now_);
  c.joined(&c_, info(2), now_);
  pass(601);
  EXPECT_EQ(a_.outcome.exit_code, 5);
  EXPECT_TRUE(contains(a_.outcome.message,
                       "2 of 3 machines came within 600 s (here: h0 (10.0.0.0), h2 (10.0.0.2); missing: node "
                       "rank 1). Is"))
      << a_.outcome.message;
  EXPECT_TRUE(c.over());
}

TEST_F(CoordinatorTest, SaysWhomItWaitsForAndHowLong) {
  const auto said = [&](double seconds) {
    ::testing::internal::CaptureStderr();
    pass(seconds);
    return ::testing::internal::GetCapturedStderr();
  };
  options_.rendezvous.host = "node1";
  auto& fixed = make(2, 2, false);
  fixed.joined(&a_, info(0), now_);
  EXPECT_EQ(said(4), "");
  EXPECT_EQ(said(1),
            "diffract: launch: waiting: 1 of 2 machines have come to node1:29500 (here: h0 (10.0.0.0); "
            "missing: node rank 1); 595 s more\n");
  EXPECT_EQ(said(29), "");
  EXPECT_TRUE(contains(said(1), "565 s more")) << "every 30 s";
  fixed.joined(&b_, info(1), now_);
  EXPECT_EQ(said(60), "");
  auto& elastic = make(1, 3, true);
  elastic.joined(&a_, info(0), now_);
  EXPECT_TRUE(contains(said(6), "1 of 3 machines")) << "the fewest are there";
  EXPECT_EQ(a_.log, "start ");
}

TEST_F(CoordinatorTest, TakesThePeersComplaintForAConsequence) {
  auto& c = make(2, 2, false);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  c.failed(&a_, failure(0, 5), now_);
  EXPECT_EQ(a_.log, "start ");
  pass(0.1);
  c.failed(&b_, failure(1, 137), now_);
  EXPECT_EQ(a_.log, "start end ");
  EXPECT_EQ(a_.outcome.exit_code, 137);
  EXPECT_EQ(a_.outcome.failure->rank, 1);
}

TEST_F(CoordinatorTest, TakesAPeersComplaintForTheCauseWhenNothingElseComes) {
  auto& c = make(1, 1, false);
  c.joined(&a_, info(0), now_);
  c.failed(&a_, failure(0, 5), now_);
  pass(0.5);
  EXPECT_EQ(a_.outcome.exit_code, 5);
}

TEST_F(CoordinatorTest, TakesAHangForACauseAtOnce) {
  auto& c = make(2, 2, false);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  WorkerFailure hang = failure(1, 5);
  hang.own_fault = true;
  c.failed(&b_, hang, now_);
  c.failed(&a_, failure(0, 1), now_);  // a consequence that does not call itself one
  EXPECT_EQ(a_.outcome.failure->rank, 1);
  FakeNode late;
  c.joined(&late, info(1), now_);
  EXPECT_EQ(late.outcome.exit_code, 5);
}

TEST_F(CoordinatorTest, StartsAgainWhenAllAreReady) {
  auto& c = make(2, 2, false, 1);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  c.succeeded(&a_, 0, now_);
  c.failed(&b_, failure(1, 9), now_);
  EXPECT_EQ(a_.log + b_.log, "start stop start stop ");
  EXPECT_TRUE(contains(b_.reason, "1 of 1 restarts"));
  c.ready(&b_, 6001, now_);
  EXPECT_EQ(b_.log, "start stop ");
  c.ready(&a_, 6000, now_);
  EXPECT_EQ(a_.log + b_.log, "start stop start start stop start ");
  EXPECT_EQ(b_.assigned.restart_count, 1);
  EXPECT_EQ(b_.assigned.master_port, 6000);
  c.failed(&b_, failure(1, 9), now_);
  EXPECT_EQ(a_.outcome.exit_code, 9);
}

TEST_F(CoordinatorTest, DoesNotRepeatWhatWillNotHelp) {
  auto& c = make(1, 1, false, 5);
  c.joined(&a_, info(0), now_);
  c.failed(&a_, failure(0, 2), now_);
  EXPECT_EQ(a_.log, "start end ");
}

TEST_F(CoordinatorTest, GoesOnWithoutALostNodeWhereEnoughAreLeft) {
  auto& c = make(2, 3, true);
  for (FakeNode* node : {&a_, &b_, &c_}) c.joined(node, info(node == &a_ ? 0 : node == &b_ ? 1 : 2), now_);
  c.failed(&a_, failure(0, 5), now_);  // a consequence
  c.lost(&b_, "was lost: no word for 3 s", now_);
  EXPECT_EQ(a_.log + c_.log, "start stop start stop ");
  EXPECT_TRUE(
      contains(a_.reason, "host h1 (10.0.0.1) was lost: no word for 3 s; the job goes on with 2 machines"));
  c.ready(&a_, 7000, now_);
  c.ready(&c_, 7002, now_);
  EXPECT_EQ(c_.assigned.world_size, 2);
  EXPECT_EQ(c_.assigned.restart_count, 1);
  c.lost(&c_, "was lost", now_);
  EXPECT_EQ(a_.outcome.exit_code, 5);
  EXPECT_TRUE(
      contains(a_.outcome.failure->summary(), "host h2 (node rank 2, 10.0.0.2) was lost. 1 of 2 machines"))
      << a_.outcome.failure->summary();
}

TEST_F(CoordinatorTest, TakesInANodeThatComesLater) {
  auto& c = make(1, 2, true);
  c.joined(&a_, info(0), now_);
  pass(31);
  EXPECT_EQ(a_.assigned.world_size, 1);
  c.joined(&b_, info(1, 2), now_);
  EXPECT_EQ(a_.log, "start stop ");
  c.ready(&a_, 7000, now_);
  EXPECT_EQ(b_.log, "start ");
  EXPECT_EQ(b_.assigned.world_size, 3);
}

TEST_F(CoordinatorTest, KeepsNodesBeyondTheMostInReserve) {
  auto& c = make(1, 2, true);
  for (FakeNode* node : {&a_, &b_, &c_}) c.joined(node, info(0), now_);
  EXPECT_EQ(a_.log + b_.log + c_.log, "start start ");
  c.lost(&b_, "was lost", now_);
  c.ready(&a_, 7000, now_);
  EXPECT_EQ(c_.log, "start ");
}

TEST_F(CoordinatorTest, EndsWhenAllHaveSucceeded) {
  auto& c = make(2, 2, false);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  c.succeeded(&a_, 7, now_);
  EXPECT_EQ(a_.log, "start ");
  c.succeeded(&b_, 0, now_);
  EXPECT_EQ(b_.outcome.exit_code, 7);
  EXPECT_FALSE(b_.outcome.failure);
}

TEST_F(CoordinatorTest, HeedsSignals) {
  auto& fixed = make(2, 2, false);
  fixed.joined(&a_, info(0), now_);
  fixed.joined(&b_, info(1), now_);
  fixed.interrupted(&b_, SIGTERM, now_);
  EXPECT_EQ(a_.outcome.exit_code, 128 + SIGTERM);
  EXPECT_TRUE(contains(a_.outcome.message, "SIGTERM on host h1"));
  auto& elastic = make(1, 2, true);
  elastic.joined(&a_, info(0), now_);
  elastic.joined(&b_, info(1), now_);
  elastic.interrupted(&b_, SIGTERM, now_);
  EXPECT_TRUE(contains(a_.reason, "host h1 (10.0.0.1) was told to leave by SIGTERM; the job goes on with 1"));
  elastic.interrupted(&a_, SIGINT, now_);
  EXPECT_EQ(a_.outcome.exit_code, 128 + SIGINT);
}

TEST_F(CoordinatorTest, GivesUpOnANodeThatDoesNotStop) {
  auto& c = make(2, 2, false, 1);
  c.joined(&a_, info(0), now_);
  c.joined(&b_, info(1), now_);
  c.failed(&a_, failure(0, 9), now_);
  c.ready(&a_, 7000, now_);
  pass(100);
  EXPECT_TRUE(contains(a_.outcome.failure->summary(), "h1")) << a_.outcome.failure->summary();
}

}  // namespace
}  // namespace diffract::launch
