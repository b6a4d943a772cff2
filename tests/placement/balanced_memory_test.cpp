#include <gtest/gtest.h>

#include "diffract/placement/planner.h"
#include "tests/placement/model_for_test.h"

namespace diffract::placement {
namespace {

const ModuleTree kModel{.root = test::model_for_test()};

TEST(ComputeModuleSizes, CountsEveryModuleAndTensor) {
  const auto sizes = compute_module_sizes(kModel);
  EXPECT_EQ(sizes.total(), 236);
  EXPECT_EQ(sizes["linear1"], 64);
  EXPECT_EQ(sizes["batchnorm"], 72);
  EXPECT_EQ(sizes["linear2.p1"], 20);
  EXPECT_EQ(sizes["missing"], 0);
}

TEST(ComputeModuleSizes, ADtypeNeverMakesATensorWider) {
  EXPECT_EQ(compute_module_sizes(kModel, {.dtype_bytes = 2}).total(), (236 - 8) / 2 + 8);  // int64 stays
  EXPECT_EQ(compute_module_sizes(kModel, {.dtype_bytes = 8}).total(), 236);
  EXPECT_EQ(
      compute_module_sizes(kModel, {.dtype_bytes = 2, .special_dtype_bytes = {{"linear1.p0", 4}}})["linear1"],
      48 + 8);
}

TEST(ComputeModuleSizes, ATiedTensorCountsOnceWhereItStandsFirst) {
  const ModuleTree tied{.root = test::model_for_test(), .tied = {{"linear1.p0", "linear2.p0"}}};
  const auto sizes = compute_module_sizes(tied);
  EXPECT_EQ(sizes.total(), 236 - 80);
  EXPECT_EQ(sizes["linear1"], 64);
  EXPECT_EQ(sizes["linear2"], 20);
}

// accelerate's test_get_balanced_memory.
TEST(GetBalancedMemory, SharesTheModelOut) {
  const auto balanced = [](const MaxMemory& memory, bool low_zero = false) {
    return get_balanced_memory(kModel, memory, {}, low_zero);
  };
  EXPECT_EQ(balanced({{0, 300}, {1, 300}}), (MaxMemory{{0, 215}, {1, 300}}));
  EXPECT_EQ(balanced({{0, 300}, {1, 300}, {2, 300}}), (MaxMemory{{0, 175}, {1, 175}, {2, 300}}));
  EXPECT_EQ(balanced({{0, 200}, {1, 200}}), (MaxMemory{{0, 200}, {1, 200}}));
  EXPECT_EQ(balanced({{0, 0}, {1, 300}, {2, 300}}), (MaxMemory{{0, 0}, {1, 215}, {2, 300}}));
  EXPECT_EQ(balanced({{0, 300}, {1, 300}}, true), (MaxMemory{{0, 0}, {1, 300}}));
  EXPECT_EQ(balanced({{0, 300}, {1, 300}, {2, 300}}, true), (MaxMemory{{0, 0}, {1, 215}, {2, 300}}));
  EXPECT_EQ(balanced({{0, 500}}), (MaxMemory{{0, 500}}));
  EXPECT_EQ(balanced({{"cpu", 500}}), (MaxMemory{{"cpu", 500}}));
}

TEST(GetBalancedMemory, ABlockThatStaysWholeWidensTheShares) {
  const ModuleTree two{.root = {.class_name = "Sequential",
                                .children = {test::model_for_test("0"), test::model_for_test("1")}}};
  const auto balanced =
      get_balanced_memory(two, {{0, 600}, {1, 600}}, {.no_split_module_classes = {"ModelForTest"}}, false);
  EXPECT_EQ(balanced, (MaxMemory{{0, 236 + 295}, {1, 600}}));
}

// accelerate raises RuntimeError: it asks torch for a device called "disk".
TEST(GetBalancedMemory, TakesABudgetForTheDisk) {
  EXPECT_EQ(get_balanced_memory(kModel, {{0, 300}, {1, 300}, {"disk", 1000}}, {}),
            (MaxMemory{{0, 215}, {1, 300}, {"disk", 1000}}));
}

// accelerate raises KeyError: it adds up the devices 1 to n - 1, whatever they are called.
TEST(GetBalancedMemory, LowZeroTakesAnyIndices) {
  EXPECT_EQ(get_balanced_memory(kModel, {{0, 300}, {2, 300}}, {}, true), (MaxMemory{{0, 0}, {2, 300}}));
  EXPECT_EQ(get_balanced_memory(kModel, {{1, 300}, {2, 100}, {5, 100}}, {}, true),
            (MaxMemory{{1, 36}, {2, 100}, {5, 100}}));
  // Device 0 is as empty as can be already; the others share evenly.
  EXPECT_EQ(get_balanced_memory(kModel, {{0, 0}, {1, 300}, {2, 300}}, {}, true),
            (MaxMemory{{0, 0}, {1, 215}, {2, 300}}));
}

TEST(GetMaxMemory, KeepsATenthOfASingleAcceleratorThatWasMeasured) {
  EXPECT_EQ(get_max_memory({}, {{0, 1000}, {"cpu", 500}}), (MaxMemory{{0, 900}, {"cpu", 500}}));
  EXPECT_EQ(get_max_memory({}, {{0, 1000}, {1, 1000}}), (MaxMemory{{0, 1000}, {1, 1000}}));
  EXPECT_EQ(get_max_memory(MaxMemory{{0, 1000}}, {{0, 5}, {"cpu", 5}}), (MaxMemory{{0, 1000}}));
}

}  // namespace
}  // namespace diffract::placement
