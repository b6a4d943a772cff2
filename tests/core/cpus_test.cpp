// Which processors a process may use: its affinity, and the quota of its control groups.
#include "diffract/core/cpus.h"

#include <gtest/gtest.h>

#include "diffract/core/busy_cores.h"
#include "diffract/core/control_group.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

TEST(Cores, AreGroupedBySiblings) {
  const auto siblings = [](int cpu) { return std::vector<int>{cpu % 4, cpu % 4 + 4}; };
  using Cores = std::vector<std::vector<int>>;
  EXPECT_EQ(group_by_core({0, 1, 2, 3, 4, 5, 6, 7}, siblings), Cores({{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(group_by_core({5, 6, 7}, siblings), Cores({{5}, {6}, {7}}));
  EXPECT_EQ(group_by_core({2, 9}, [](int) { return std::vector<int>(); }), Cores({{2}, {9}}));
}

TEST(Cores, ReadsTheKernelsLists) {
  EXPECT_EQ(parse_cpu_list("0-2,8"), std::vector<int>({0, 1, 2, 8}));
  EXPECT_EQ(parse_cpu_list("3"), std::vector<int>({3}));
  for (const char* malformed : {"", "x", "1-", "2-1", "1,,2", "-1", "1-2-3", "0-99999999"})
    EXPECT_TRUE(parse_cpu_list(malformed).empty()) << malformed;
}

TEST(Cores, AreNoMoreThanTheQuota) {
  EXPECT_EQ(within_quota(64, std::nullopt), 64);
  EXPECT_EQ(within_quota(64, 4.0), 4);
  EXPECT_EQ(within_quota(64, 1.5), 1);  // two that share work would both be held back
  EXPECT_EQ(within_quota(2, 0.5), 1);
  EXPECT_EQ(within_quota(2, 1000), 2);
  EXPECT_EQ(within_quota(0, 0.01), 1);
}

// A folder that looks like the kernel's.
class ControlGroups : public ::testing::Test {
 protected:
  void list(const std::string& lines) const { folder_.file("list", lines); }
  void group(const std::string& file, const std::string& content) const {
    const std::filesystem::path path = "root/" + file;
    std::filesystem::create_directories(folder_ / path.parent_path());
    folder_.file(path.string(), content);
  }
  std::optional<double> quota() const {
    return cpu_quota({.list = folder_ / "list", .root = folder_ / "root"});
  }
  test::TempFolder folder_;
};

TEST_F(ControlGroups, OfVersion2LimitWhatIsBelowThem) {
  list("0::/pods/one/main\n");
  group("pods/one/main/cpu.max", "max 100000\n");
  EXPECT_FALSE(quota());
  group("pods/one/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  group("pods/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  group("pods/one/main/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(ControlGroups, OfVersion1AreFoundAtTheirControllers) {
  for (const char* folder : {"cpu", "cpu,cpuacct"}) {
    std::filesystem::remove_all(folder_ / "root");
    list("7:memory:/elsewhere\n4:cpu,cpuacct:/docker/abc\n1:cpuset:/docker\n0::/\n");
    group(folder + std::string("/docker/abc/cpu.cfs_quota_us"), "-1\n");
    group(folder + std::string("/docker/abc/cpu.cfs_period_us"), "100000\n");
    EXPECT_FALSE(quota()) << folder;
    group(folder + std::string("/docker/abc/cpu.cfs_quota_us"), "150000\n");
    EXPECT_EQ(quota(), 1.5) << folder;
  }
}

// The list names the group as the host sees it; the container sees its own as the topmost.
TEST_F(ControlGroups, OfAContainerAreAtTheTop) {
  list("4:cpu:/docker/abc\n");
  group("cpu/cpu.cfs_quota_us", "200000\n");
  group("cpu/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quota(), 4.0);
}

TEST_F(ControlGroups, BesideVersion1HaveAFolderOfTheirOwn) {
  list("0::/a\n");
  group("unified/a/cpu.max", "300000 100000\n");
  group("cpu/a", "");
  EXPECT_EQ(quota(), 3.0);
}

TEST_F(ControlGroups, ThatCannotBeReadLimitNothing) {
  EXPECT_FALSE(quota());
  list("rubbish\n0::\n::::\n4:cpu:nowhere\n0::/a\n");
  group("a/cpu.max", "many\n");
  EXPECT_FALSE(quota());
  group("a/cpu.max", "100000 0\n");
  EXPECT_FALSE(quota());
}

// Thread 7 ran for 5 s and waited for 2, thread 8 for 3 and 1.
TEST(BusyCores, AreSeenInTheKernelsAccount) {
  const test::TempFolder process;
  EXPECT_EQ(waited_for_cores(process.path()).count(), 0);
  for (const char* thread : {"7", "8", "9"})
    std::filesystem::create_directories(process / ("task/" + std::string(thread)));
  process.file("task/7/schedstat", "5000000000 2000000000 12\n");
  process.file("task/8/schedstat", "3000000000 1000000000 10\n");
  EXPECT_EQ(waited_for_cores(process.path()), std::chrono::seconds(3));
}

TEST(BusyCores, AreTakenWhereThreadsWaitForThem) {
  using std::chrono::seconds;
  EXPECT_TRUE(are_cores_taken(seconds(8), seconds(10), 2));
  EXPECT_FALSE(are_cores_taken(seconds(4), seconds(10), 2));
  EXPECT_FALSE(are_cores_taken(seconds(9), seconds(10), 1));  // one thread waits for no other
  EXPECT_FALSE(are_cores_taken(seconds(0), seconds(10), 2));
}

}  // namespace
}  // namespace diffract
