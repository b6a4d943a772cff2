#include <fmt/format.h>
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/weights/save_tensors.h"
#include "diffract/weights/weight_scope.h"
#include "tests/support/temp_folder.h"

namespace diffract::weights {
namespace {

using test::error_of;

class WeightScopeTest : public ::testing::Test {
 protected:
  WeightScopeTest() {
    const at::Tensor values = at::arange(6, at::kFloat).view({2, 3}) / 7;
    save_tensors(folder_ / "a.safetensors",
                 {{"to_q.weight", values.to(at::kHalf)}, {"to_q.bias", at::ones({2})}});
    save_tensors(folder_ / "b.safetensors",
                 {{"ids", at::arange(3)}, {"norm.weight", at::ones({3}, at::kBFloat16)}});
  }
  WeightScope scope(const tensor::DtypePolicy& policy = {}) const {
    return {Checkpoint::open(
                {.files = {folder_ / "a.safetensors", folder_ / "b.safetensors"}, .description = "unet"}),
            policy};
  }
  test::TempFolder folder_;
};

TEST_F(WeightScopeTest, FindsTensorsBelowAModule) {
  const auto to_q = scope() / "to_q";
  EXPECT_TRUE(to_q.has("weight"));
  EXPECT_FALSE(to_q.has("scale"));
  EXPECT_EQ(to_q.weight("weight", {2, 3}).get().scalar_type(), at::kFloat);
}

TEST_F(WeightScopeTest, NamesFileTensorFoundAndExpected) {
  const auto message = error_of<CheckpointError>([&] { (scope() / "to_q").weight("weight", {3, 2}); });
  for (const char* part : {"a.safetensors", "to_q.weight", "[2, 3]", "[3, 2]"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_NE(error_of<CheckpointError>([&] {
              (scope() / "to_k").weight("weight", {2, 3});
            }).find("to_k.weight"),
            std::string::npos);
  EXPECT_NE(error_of<CheckpointError>([&] { scope().tensor("ids", {3}); }).find("I64"), std::string::npos);
}

TEST_F(WeightScopeTest, RefusesATensorThatStandsInTwoFiles) {
  save_tensors(folder_ / "b.safetensors", {{"to_q.bias", at::ones({2})}});
  EXPECT_NE(error_of<CheckpointError>([&] { scope(); }).find("to_q.bias"), std::string::npos);
}

TEST_F(WeightScopeTest, RemembersWhatNobodyAskedFor) {
  const auto checkpoint = Checkpoint::open({.files = {folder_ / "a.safetensors"}, .description = "unet"});
  const WeightScope root(checkpoint, {});
  (root / "to_q").tensor("bias", {2});
  EXPECT_EQ(checkpoint->unused(), (std::vector<std::string>{"to_q.weight"}));
}

TEST_F(WeightScopeTest, RoundsToTheStorageThatWasAskedFor) {
  const auto policy = tensor::DtypePolicy{.storage = at::kBFloat16, .arithmetic = at::kFloat};
  const at::Tensor rounded = (scope(policy) / "to_q").weight("weight", {2, 3}).get();
  const at::Tensor stored = (scope() / "to_q").weight("weight", {2, 3}).get();
  EXPECT_TRUE(at::equal(rounded, stored.to(at::kBFloat16).to(at::kFloat)));
}

TEST(Weight, IsTheStoredTensorWhereNoWideningIsNeeded) {
  const at::Tensor stored = at::ones({2, 2});
  EXPECT_TRUE(Weight(stored, at::kFloat).get().is_same(stored));
}

TEST(Weight, WidensExactlyIntoOneBufferPerThread) {
  const at::Tensor large = at::randn({8, 8}).to(at::kHalf), small = at::randn({3}).to(at::kHalf);
  const at::Tensor first = Weight(large, at::kFloat).get();
  EXPECT_TRUE(at::equal(first, large.to(at::kFloat)));
  const at::Tensor second = Weight(small, at::kFloat).get();
  EXPECT_EQ(first.data_ptr(), second.data_ptr());
  EXPECT_TRUE(at::equal(second, small.to(at::kFloat)));
  release_scratch();
}

}  // namespace
}  // namespace diffract::weights
