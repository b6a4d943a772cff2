#include <fmt/format.h>
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/host_budget.h"
#include "diffract/weights/offload_folder.h"
#include "diffract/weights/part_reader.h"
#include "diffract/weights/save_tensors.h"
#include "diffract/weights/weight_scope.h"
#include "tests/support/temp_folder.h"

namespace diffract::weights {
namespace {

using test::error_of;

TEST(ResidentWhenStreamed, IsHalfOfWhatIsFreeForWhatIsTooLarge) {
  EXPECT_FALSE(resident_when_streamed(0, 0));
  EXPECT_FALSE(resident_when_streamed(79, 100));
  EXPECT_EQ(resident_when_streamed(81, 100), 50u);
}

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

TEST_F(WeightScopeTest, ReadsASourceUnderOtherNames) {
  const auto files = Checkpoint::open({.files = {folder_ / "a.safetensors"}, .description = "unet"});
  const auto other = renamed(files, [](const std::string& name) {
    return name.starts_with("query.") ? "to_q." + name.substr(6) : "none." + name;
  });
  const WeightScope scope(other, {});
  EXPECT_TRUE((scope / "query").has("weight"));
  EXPECT_FALSE((scope / "to_q").has("weight"));
  EXPECT_TRUE((scope / "query")
                  .weight("weight", {2, 3})
                  .stored()
                  .equal(files->tensor("to_q.weight", {2, 3}).to(at::kFloat)));
  EXPECT_EQ(other->total_elements(), files->total_elements());
  EXPECT_NE(error_of<CheckpointError>([&] { scope.tensor("bias", {2}); }).find("none.bias"),
            std::string::npos);
}

// A constructor that made something of the values would do so twice.
TEST_F(WeightScopeTest, RecordsWithoutHandingOutValues) {
  Part part;
  const Weight weight = (scope() / "to_q").recording(part).weight("weight", {2, 3});
  EXPECT_TRUE(weight.stored().is_meta());
  ASSERT_EQ(part.tensors.size(), 1u);
  EXPECT_EQ(part.tensors[0].name, "to_q.weight");
}

TEST(Weight, JoinsMatricesOfAnEncoding) {
  const at::Tensor a = at::randn({2, 3}), b = at::randn({4, 3});
  const Weight dense = Weight::joined({{a, at::kFloat}, {b, at::kFloat}});
  EXPECT_TRUE(dense.get().equal(at::cat({a, b})));
  EXPECT_TRUE(dense.rows(2, 4).get().equal(b));
  EXPECT_FALSE(dense.wants_rounded_rows());
  const Weight narrow = Weight::joined({Weight(kernels::to_float8(a)), Weight(kernels::to_float8(b))});
  EXPECT_EQ(narrow.encoding(), Encoding::float8_rows);
  EXPECT_TRUE(narrow.wants_rounded_rows());
  EXPECT_TRUE(narrow.rows(2, 4).scales().equal(kernels::to_float8(b).scales));
  EXPECT_EQ(narrow.stored().sizes(), at::IntArrayRef({6, 3}));
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

// Every value of a float8 type is a float32: what a file holds is used as it is.
TEST(Float8Weights, AreWidenedExactly) {
  const test::TempFolder folder;
  for (const at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
    std::vector<uint8_t> codes;
    for (int code = 0; code < 256; ++code) {
      const at::Tensor one = at::full({1}, code, at::kByte).view(dtype).to(at::kFloat);
      if (at::isfinite(one).item<bool>()) codes.push_back(static_cast<uint8_t>(code));
    }
    const auto count = static_cast<int64_t>(codes.size());
    EXPECT_GE(count, 246);
    const at::Tensor narrow = at::from_blob(codes.data(), {count, 1}, at::kByte).clone().view(dtype);
    save_tensors(folder / "w.safetensors", {{"linear.weight", narrow}});
    const auto open = [&] {
      return Checkpoint::open({.files = {folder / "w.safetensors"}, .description = "unet"});
    };
    for (const auto storage :
         {std::optional<at::ScalarType>(), std::optional(at::kFloat), std::optional(at::kHalf)}) {
      const WeightScope scope(open(), tensor::DtypePolicy{.storage = storage, .arithmetic = at::kFloat});
      const Weight weight = (scope / "linear").weight("weight", {count, 1});
      EXPECT_TRUE(at::equal(weight.get(), narrow.to(at::kFloat))) << dtype;
    }
    EXPECT_EQ(open()->total_bytes(), codes.size());
    EXPECT_TRUE(at::equal(Weight(narrow, at::kFloat).get(), narrow.to(at::kFloat)));
    release_scratch();
  }
}

// Read block by block, in pieces, and written into an offload folder.
TEST(Float8Weights, ComeAndGoAsOthersDo) {
  const test::TempFolder folder;
  const at::Tensor narrow = at::randn({300, 1000}).to(at::kFloat8_e4m3fn);
  save_tensors(folder / "w.safetensors", {{"a", narrow}, {"b", at::randn({3}).to(at::kHalf)}});
  const auto checkpoint = Checkpoint::open({.files = {folder / "w.safetensors"}, .description = "model"});
  for (const at::ScalarType dtype : {at::kFloat, at::kFloat8_e4m3fn}) {
    Part part{.name = "part"};
    part.add({.module_name = "a",
              .name = "a",
              .stored = checkpoint->stored("a", {300, 1000}),
              .storage = {},
              .dtype = dtype});
    part.add({.module_name = "b",
              .name = "b",
              .stored = checkpoint->stored("b", {3}),
              .storage = {},
              .dtype = at::kFloat});
    const PartMemory memory{at::empty({static_cast<int64_t>(part.bytes)}, at::kByte)};
    PartReader reader(at::kCPU, nullptr);
    reader.load_to_host(part, memory);
    EXPECT_TRUE(at::equal(memory[part.tensors[0]].to(at::kFloat), narrow.to(at::kFloat)));
    OffloadFolder offload(folder / "offload");
    offload.take(part, reader);  // b is converted, and so all of the part is written
    EXPECT_EQ(part.tensors[0].stored.view.scalar_type(), dtype);
    EXPECT_TRUE(at::equal(part.tensors[0].stored.view.to(at::kFloat), narrow.to(at::kFloat)));
  }
}

TEST(Float8Weights, AreRefusedWithAScaleBesideThem) {
  const test::TempFolder folder;
  for (const char* scale : {"to_q.weight_scale", "to_q.weight_scale_inv", "to_q.scale_weight"}) {
    save_tensors(folder / "w.safetensors",
                 {{"to_q.weight", at::ones({2, 3}).to(at::kFloat8_e4m3fn)}, {scale, at::ones({1})}});
    const auto checkpoint = Checkpoint::open({.files = {folder / "w.safetensors"}, .description = "unet"});
    const auto message = error_of<CheckpointError>([&] { checkpoint->tensor("to_q.weight", {2, 3}); });
    EXPECT_NE(message.find(scale), std::string::npos) << message;
  }
}

TEST(Weight, IsJoinedWithoutACopyWhereTheMatricesLieBehindEachOther) {
  const at::Tensor memory = at::randn({7, 4});
  const auto matrix = [&](int64_t first, int64_t rows) {
    return Weight(memory.narrow(0, first, rows), at::kFloat);
  };
  const at::Tensor one = Weight::joined({matrix(1, 2), matrix(3, 3)}).stored();
  EXPECT_TRUE(one.equal(memory.narrow(0, 1, 5)));
  EXPECT_TRUE(one.is_alias_of(memory));
  const at::Tensor apart = Weight::joined({matrix(3, 3), matrix(1, 2)}).stored();
  EXPECT_TRUE(apart.equal(at::cat({memory.narrow(0, 3, 3), memory.narrow(0, 1, 2)})));
  EXPECT_FALSE(apart.is_alias_of(memory));
}

TEST(Part, HasMatricesOfAGroupBehindEachOther) {
  Part part;
  for (const char* name : {"to_q", "to_k"})
    for (const bool is_matrix : {true, false})
      part.add({.module_name = name,
                .name = name,
                .stored = {at::zeros(is_matrix ? std::vector<int64_t>{32, 64} : std::vector<int64_t>{32}),
                           nullptr, 0},
                .storage = {},
                .dtype = at::kFloat});
  part.matrices_first();
  const auto& t = part.tensors;
  EXPECT_EQ(t[1].begin, t[0].begin + t[0].bytes());
  EXPECT_EQ(t[1].name, "to_k");
  EXPECT_EQ(t[2].name, "to_q");
  EXPECT_EQ(part.bytes, t[3].begin + t[3].bytes());
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
