// PartialState in real processes, and how the cores of a host are shared.
#include <gtest/gtest.h>

#include "diffract/core/cpus.h"
#include "diffract/distributed/cores.h"
#include "tests/distributed/ranks.h"

namespace diffract::distributed {
namespace {

using namespace std::chrono_literals;
using test::count;
using test::expect_contains;
using test::ProcessEnd;
using test::RunningProcess;

TEST(PartialState, TellsEachProcessWhoItIs) {
  auto ranks = test::start_all({"partial_state"}, 3, test::free_port());
  std::vector<ProcessEnd> ends;
  for (auto& rank : ranks) ends.push_back(rank.wait(60s));
  for (const auto& end : ends) EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(ends[0].out, {"index 0 of 3, local 0, cpu, main local-main \n", "share ab\n", "tensor of 2",
                                "on_main\n", "on_local_main\n", "printed", "thrown", "index is still 0"});
  expect_contains(ends[1].out,
                  {"index 1 of 3, local 1, cpu, \n", "share cd\n", "tensor of 2", "on_1\n", "on_local_1\n"});
  expect_contains(ends[2].out,
                  {"index 2 of 3, local 2, cpu, last\n", "share ee\n", "tensor of 1", "on_last\n"});
  const std::string all = ends[0].out + ends[1].out + ends[2].out;
  for (const char* once : {"on_main", "on_local_main", "on_last", "on_1", "on_local_1", "printed", "thrown"})
    EXPECT_EQ(count(all, once), 1u) << once << ": " << all;
}

TEST(PartialState, SharesTheCores) {
  const size_t cores = allowed_cpus().size();
  auto ranks = test::start_all({"partial_state"}, 2, test::free_port());
  for (auto& rank : ranks) {
    const ProcessEnd end = rank.wait(60s);
    ASSERT_EQ(end.exit_code, 0) << end.err;
    const size_t at = end.out.find("threads ");
    ASSERT_NE(at, std::string::npos) << end.out;
    int threads = 0;
    size_t cpus = 0;
    ASSERT_EQ(std::sscanf(end.out.c_str() + at, "threads %d, cpus %zu", &threads, &cpus), 2);
    EXPECT_GE(threads, 1);
    EXPECT_LE(static_cast<size_t>(threads), std::max<size_t>(1, cores / 2));
    EXPECT_LE(cpus, (cores + 1) / 2) << "bound to its half";
  }
}

TEST(PartialState, IsAloneWithoutALauncher) {
  RunningProcess alone({DIFFRACT_WORKER, "partial_state"}, {{"OMP_NUM_THREADS", "3"}});
  const ProcessEnd end = alone.wait(60s);
  EXPECT_EQ(end.exit_code, 0) << end.err;
  expect_contains(end.out,
                  {"index 0 of 1, local 0, cpu, main local-main last", "share abcde\n", "threads 3"});
}

TEST(Cores, AreSharedEvenly) {
  using Cores = std::vector<std::vector<int>>;
  const Cores five = {{0}, {1}, {2}, {3}, {4}};
  EXPECT_EQ(share_of_cores(five, 0, 2), Cores({{0}, {1}}));  // the same number for each: the same pictures
  EXPECT_EQ(share_of_cores(five, 1, 2), Cores({{2}, {3}}));
  EXPECT_EQ(share_of_cores(five, 6, 8), Cores({{1}}));
  EXPECT_EQ(share_of_cores({}, 0, 2), Cores());
}

TEST(Cores, ShareTheQuotaToo) {
  EXPECT_EQ(threads_within_quota(8, std::nullopt, 4), 8);
  EXPECT_EQ(threads_within_quota(16, 4.0, 1), 4);
  EXPECT_EQ(threads_within_quota(16, 4.0, 4), 1);
  EXPECT_EQ(threads_within_quota(16, 9.5, 3), 3);
  EXPECT_EQ(threads_within_quota(1, 0.5, 2), 1);
  EXPECT_EQ(threads_within_quota(2, 100, 2), 2);
}

}  // namespace
}  // namespace diffract::distributed
