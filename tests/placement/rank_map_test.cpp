#include "diffract/placement/rank_map.h"

#include <gtest/gtest.h>

#include <limits>

#include "diffract/core/error.h"

namespace diffract::placement {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

struct LayerForTest {
  int64_t bytes;
  double flops;
};

// A component of layers "0", "1", ....
PlannedComponent component(const std::string& name, const std::vector<LayerForTest>& layers, int64_t runs) {
  PlannedComponent made{.name = name, .runs = runs};
  for (size_t i = 0; i < layers.size(); ++i)
    made.tree.root.children.push_back(
        {.name = std::to_string(i),
         .class_name = "Block",
         .tensors = {{.name = "weight", .elements = layers[i].bytes, .bytes = layers[i].bytes}}});
  return made;
}

std::vector<RankedLayer> ranked(const std::vector<LayerForTest>& layers) {
  std::vector<RankedLayer> list;
  for (size_t i = 0; i < layers.size(); ++i)
    list.push_back({.name = std::to_string(i), .flops = layers[i].flops});
  return list;
}

MaxMemory budgets(const std::vector<int64_t>& bytes) {
  MaxMemory memory;
  for (size_t r = 0; r < bytes.size(); ++r) memory.set(Place::rank(static_cast<int>(r)), bytes[r]);
  return memory;
}

DeviceMap divide(const std::vector<LayerForTest>& layers, const MaxMemory& memory) {
  return divide_over_ranks({component("m", layers, 1)}, {ranked(layers)}, memory);
}

TEST(RankMap, DividesByWorkAndNotByBytes) {
  const auto map =
      divide({{900, 1}, {10, 1}, {10, 1}, {10, 1}, {10, 2}, {10, 2}}, budgets({kNoLimit, kNoLimit}));
  const DeviceMap expected = {{"m", Place::rank(0)}, {"m.4", Place::rank(1)}, {"m.5", Place::rank(1)}};
  EXPECT_EQ(map, expected) << map;
}

TEST(RankMap, CountsHowOftenAComponentRuns) {
  const std::vector<LayerForTest> once = {{1, 6}, {1, 6}}, often = {{1, 1}, {1, 1}, {1, 1}, {1, 1}};
  const auto map = divide_over_ranks({component("a", once, 1), component("b", often, 10)},
                                     {ranked(once), ranked(often)}, budgets({kNoLimit, kNoLimit}));
  EXPECT_EQ(map.at("a.1"), Place::rank(0));
  EXPECT_EQ(map.at("b.0"), Place::rank(0));  // 12 + 10
  EXPECT_EQ(map.at("b.1"), Place::rank(1));  // 30
}

TEST(RankMap, KeepsBudgetsWithWhatComputingTakes) {
  const std::vector<LayerForTest> layers(10, {100, 1});
  auto one = component("m", layers, 1);
  one.working_bytes = 50;
  const auto map = divide_over_ranks({one}, {ranked(layers)}, budgets({350, 2000}));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(map.at("m." + std::to_string(i)), Place::rank(i < 3 ? 0 : 1)) << i;
  EXPECT_NO_THROW(check_budgets({one}, map, budgets({350, 2000}), Lifetime::whole_job));
  EXPECT_THROW(divide_over_ranks({one}, {ranked(layers)}, budgets({350, 749})), MemoryError);
}

TEST(RankMap, LeavesRanksWithoutWorkOut) {
  const auto map = divide({{1, 1}}, budgets({kNoLimit, kNoLimit, kNoLimit}));
  EXPECT_EQ(map.places().size(), 1u);
  const auto full = divide({{100, 1}}, budgets({10, kNoLimit}));
  EXPECT_EQ(full.at("m.0"), Place::rank(1));
}

TEST(RankMap, IsNeverWorseThanAnyOtherCut) {
  const std::vector<LayerForTest> layers = {{1, 5}, {1, 1}, {1, 9}, {1, 2}, {1, 2}, {1, 7}, {1, 3}, {1, 1}};
  const auto most = [&](size_t first, size_t second) {
    double work[3] = {};
    for (size_t i = 0; i < layers.size(); ++i) work[i < first ? 0 : i < second ? 1 : 2] += layers[i].flops;
    return std::max({work[0], work[1], work[2]});
  };
  double least = 1e9;
  for (size_t first = 0; first <= layers.size(); ++first)
    for (size_t second = first; second <= layers.size(); ++second)
      least = std::min(least, most(first, second));
  const auto map = divide(layers, budgets({kNoLimit, kNoLimit, kNoLimit}));
  size_t ends[3] = {};
  for (size_t i = 0; i < layers.size(); ++i) ends[map.at("m." + std::to_string(i)).index()] = i + 1;
  EXPECT_EQ(most(ends[0], std::max(ends[0], ends[1])), least) << map;
}

TEST(RankMap, ReadsAndWritesRanks) {
  const auto map = DeviceMap::from_json(Json::parse(R"({"": "rank:0", "vae": "rank:12"})"), "test");
  EXPECT_EQ(map.at("vae"), Place::rank(12));
  EXPECT_EQ(map.to_json().dump(), R"({"":"rank:0","vae":"rank:12"})");
  EXPECT_TRUE(is_over_ranks(map));
  EXPECT_TRUE(is_over_ranks(MaxMemory::parse("rank:0=1GB,rank:1=2GB")));
  EXPECT_FALSE(is_over_ranks(MaxMemory::parse("0=1GB,cpu=2GB")));
  EXPECT_THROW(is_over_ranks(MaxMemory::parse("rank:0=1GB,cpu=2GB")), UsageError);
  EXPECT_THROW(is_over_ranks(DeviceMap{{"", "rank:0"}, {"vae", 1}}), UsageError);
  for (const char* bad : {"rank:", "rank:-1", "rank:x", "rank:70000", "rank"})
    EXPECT_THROW(Place::parse(bad), UsageError) << bad;
}

TEST(RankMap, FillsByMemoryWhereTheStrategySaysSo) {
  const std::vector<LayerForTest> layers(4, {100, 1});
  auto one = component("m", layers, 1);
  const auto map = plan_rank_map({one}, {ranked(layers)}, Strategy::sequential, budgets({320, 1000}));
  EXPECT_EQ(map.at("m.2.weight"), Place::rank(0)) << map;
  EXPECT_EQ(map.at("m.3.weight"), Place::rank(1)) << map;
}

}  // namespace
}  // namespace diffract::placement
