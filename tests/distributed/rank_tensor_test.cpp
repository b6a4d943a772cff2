// Tensors of ranks and pictures in flight, over real processes.
#include "tests/distributed/ranks.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::expect_contains;
using test::free_port;
using test::ProcessEnd;
using test::start_all;

class RankTensors : public ::testing::TestWithParam<int> {};

TEST_P(RankTensors, AreValuesOfOneProcess) {
  auto ranks = start_all({"rank_tensors", "200000"}, GetParam(), free_port());
  for (auto& rank : ranks) {
    const ProcessEnd end = rank.wait();
    EXPECT_EQ(end.exit_code, 0) << end.err;
    expect_contains(end.out, {"rank tensors hold"});
  }
}

TEST_P(RankTensors, ArriveWithManyInFlight) {
  for (const char* in_flight : {"1", "4", "50"}) {
    auto ranks = start_all({"lanes", "200000", "40", in_flight}, GetParam(), free_port());
    for (auto& rank : ranks) {
      const ProcessEnd end = rank.wait();
      EXPECT_EQ(end.exit_code, 0) << end.err;
      expect_contains(end.out, {"lanes hold"});
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, RankTensors, ::testing::Values(1, 2, 3, 5),
                         [](const auto& size) { return fmt::format("{}Ranks", size.param); });

TEST(Lanes, EndTogetherWhenOneFails) {
  auto ranks = start_all({"failing_lane", "30000", "1"}, 2, free_port());
  const ProcessEnd failed = ranks[1].wait(), other = ranks[0].wait();
  EXPECT_EQ(failed.exit_code, 4) << failed.err;
  expect_contains(failed.err, {"no memory in lane 2"});
  EXPECT_EQ(other.exit_code, 5) << other.err;
  expect_contains(other.err, {"rank 1 (host"});
}

}  // namespace
}  // namespace diffract::distributed
