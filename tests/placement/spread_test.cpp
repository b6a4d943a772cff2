#include "diffract/placement/spread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "diffract/placement/spread_offload.h"
#include "tests/placement/model_for_test.h"

namespace diffract::placement {
namespace {

std::string row_of(const std::vector<int64_t>& bytes, int64_t may_stay) {
  std::string row;
  for (const bool kept : spread_kept(bytes, may_stay)) row += kept ? 'K' : '.';
  return row;
}

TEST(SpreadKept, KeepsEqualBlocksAtEqualDistances) {
  const std::vector<int64_t> twelve(12, 100);
  EXPECT_EQ(row_of(twelve, 0), "............");
  EXPECT_EQ(row_of(twelve, 400), ".K..K..K..K.");
  EXPECT_EQ(row_of(twelve, 600), ".K.K.K.K.K.K");
  EXPECT_EQ(row_of(twelve, 1200), "KKKKKKKKKKKK");
  EXPECT_EQ(row_of({}, 10), "");
}

// FLUX's: the first blocks are twice as large and compute no longer.
TEST(SpreadKept, KeepsLargeBlocksUntilTheirReadingIsNoLonger) {
  const std::vector<int64_t> bytes{200, 200, 200, 200, 200, 200, 100, 100, 100, 100, 100, 100};
  EXPECT_EQ(row_of(bytes, 400).substr(6), "......");
  EXPECT_EQ(row_of(bytes, 600), ".K.K.K......");
  // With 900 of 1,800 to read, 75 of each block on average: three of eight large ones, three of four small
  // ones.
  const std::string row = row_of(bytes, 900);
  EXPECT_EQ(std::count(row.begin(), row.begin() + 6, 'K'), 4) << row;
  EXPECT_EQ(std::count(row.begin() + 6, row.end(), 'K'), 1) << row;
}

TEST(SpreadKept, FillsTheMemoryAndNoMore) {
  std::mt19937 random(7);
  for (int round = 0; round < 1000; ++round) {
    std::vector<int64_t> bytes(random() % 40);
    int64_t total = 0, staying = 0;
    for (int64_t& size : bytes) total += size = static_cast<int64_t>(random() % 1000);
    const int64_t may_stay = static_cast<int64_t>(random() % 2000) * total / 1500;
    const auto kept = spread_kept(bytes, may_stay);
    ASSERT_EQ(kept.size(), bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) staying += kept[i] ? bytes[i] : 0;
    EXPECT_LE(staying, may_stay);
    for (size_t i = 0; i < bytes.size(); ++i)
      EXPECT_TRUE(kept[i] || staying + bytes[i] > may_stay) << "block " << i << " fits too";
  }
}

TEST(SpreadOffload, LeavesWhatIsTiedOrOnAnotherAccelerator) {
  ModuleTree tree{.root = {.class_name = "Model"}};
  for (int i = 0; i < 8; ++i) tree.root.children.push_back(test::leaf(std::to_string(i), {100}, "Block"));
  tree.root.children.push_back(test::leaf("out", {100}));
  tree.tied = {{"0.p0", "out.p0"}};
  const PlanOptions options{.no_split_module_classes = {"Block"}};
  const DeviceMap map{{"0", 0},     {"1", 0},     {"2", 0},     {"3", 1},  {"4", "cpu"},
                      {"5", "cpu"}, {"6", "cpu"}, {"7", "cpu"}, {"out", 0}};
  const DeviceMap spread = spread_offload(tree, map, options, 0, Exchange::any_blocks);
  EXPECT_EQ(spread.at("0"), Place(0));
  EXPECT_EQ(spread.at("3"), Place(1));
  EXPECT_EQ(spread.at("out"), Place(0));
  int on_main = 0;
  for (const char* name : {"1", "2", "4", "5", "6", "7"}) on_main += spread.at(name) == Place(0);
  EXPECT_EQ(on_main, 2);
  EXPECT_EQ(spread.at("1"), Place::cpu());
}

TEST(SpreadOffload, EqualBlocksExchangePlacesAmongThemselves) {
  ModuleTree tree{.root = {.class_name = "Model"}};
  DeviceMap map;
  for (int i = 0; i < 8; ++i) {
    const std::string name = std::to_string(i);
    tree.root.children.push_back(test::leaf(name, {i < 4 ? 200 : 100}, "Block"));
    map.set(name, i < 2 ? Place(0) : i < 6 ? Place::cpu() : Place::disk());
  }
  const PlanOptions options{.no_split_module_classes = {"Block"}};
  const DeviceMap spread = spread_offload(tree, map, options, 0, Exchange::equal_blocks);
  std::string row;
  for (int i = 0; i < 8; ++i) row += spread.at(std::to_string(i)).name().front();
  EXPECT_EQ(row, "c0c0dcdc");
}

}  // namespace
}  // namespace diffract::placement
