// LoRA files of every spelling, what they add, and files that are none.
#include <gtest/gtest.h>

#include <cmath>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/lora_file.h"
#include "diffract/weights/part_reader.h"
#include "diffract/weights/save_tensors.h"
#include "diffract/weights/weight_scope.h"
#include "tests/support/temp_folder.h"

namespace diffract::weights {
namespace {

using test::error_of;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

class LoraTest : public ::testing::Test {
 protected:
  LoraFile open(const Tensors& tensors) const {
    save_tensors(folder_ / "lora.safetensors", tensors);
    return LoraFile::open(folder_ / "lora.safetensors");
  }
  std::string refused(const Tensors& tensors) const {
    return error_of<CheckpointError>([&] { open(tensors); });
  }
  test::TempFolder folder_;
};

const at::Tensor kDown = at::arange(6, at::kFloat).view({2, 3}) / 4,
                 kUp = at::arange(8, at::kFloat).view({4, 2}) / 8;

TEST_F(LoraTest, ReadsEverySpelling) {
  struct Spelled {
    const char *down, *up, *module;
  };
  const Spelled spellings[] = {
      {"unet.a.to_q.lora_A.weight", "unet.a.to_q.lora_B.weight", "unet.a.to_q"},
      {"unet.a.to_q.lora_A.default.weight", "unet.a.to_q.lora_B.default.weight", "unet.a.to_q"},
      {"lora_unet_a_to_q.lora_down.weight", "lora_unet_a_to_q.lora_up.weight", "lora_unet_a_to_q"},
      {"unet.a.to_q.lora.down.weight", "unet.a.to_q.lora.up.weight", "unet.a.to_q"},
      {"unet.a.attn1.processor.to_q_lora.down.weight", "unet.a.attn1.processor.to_q_lora.up.weight",
       "unet.a.attn1.to_q"},
      {"a.attn1.processor.to_out_lora.down.weight", "a.attn1.processor.to_out_lora.up.weight",
       "a.attn1.to_out.0"},
      {"text_encoder.l.self_attn.to_out_lora.down.weight", "text_encoder.l.self_attn.to_out_lora.up.weight",
       "text_encoder.l.self_attn.out_proj"},
      {"text_encoder.l.self_attn.q_proj.lora_linear_layer.down.weight",
       "text_encoder.l.self_attn.q_proj.lora_linear_layer.up.weight", "text_encoder.l.self_attn.q_proj"}};
  for (const auto& [down, up, module] : spellings) {
    const LoraFile lora = open({{down, kDown}, {up, kUp}});
    ASSERT_EQ(lora.modules.size(), 1u) << down;
    EXPECT_EQ(lora.modules.begin()->first, module);
    EXPECT_EQ(lora.modules.begin()->second.scale, 1.0) << down;
  }
}

TEST_F(LoraTest, ScalesByAlphaOverRank) {
  const LoraFile lora =
      open({{"x.lora_down.weight", kDown}, {"x.lora_up.weight", kUp}, {"x.alpha", at::scalar_tensor(0.5)}});
  EXPECT_EQ(lora.modules.at("x").scale, 0.25);
}

TEST_F(LoraTest, LeavesKohyasDoraScaleOut) {
  const LoraFile lora =
      open({{"x.lora_down.weight", kDown}, {"x.lora_up.weight", kUp}, {"x.dora_scale", at::ones({4, 1})}});
  EXPECT_EQ(lora.left_out, 1u);
  EXPECT_FALSE(lora.modules.at("x").magnitude.defined());
}

TEST_F(LoraTest, RefusesWhatIsNoLora) {
  const Tensors sound = {{"x.lora_A.weight", kDown}, {"x.lora_B.weight", kUp}};
  const auto with = [&](const std::string& name, const at::Tensor& tensor) {
    Tensors tensors = sound;
    std::erase_if(tensors, [&](const auto& entry) { return entry.first == name; });
    tensors.emplace_back(name, tensor);
    return refused(tensors);
  };
  const std::pair<std::string, std::string> cases[] = {
      {with("y.weight", kDown), "y.weight"},
      {with("x.hada_w1_a", kDown), "LoHa"},
      {with("x.lokr_w1", kDown), "LoKr"},
      {with("x.lora_B.bias", at::ones({4})), "a bias"},
      {with("y.lora_A.weight", kDown), "\"up\" is missing"},
      {with("x.lora_B.weight", at::ones({4, 3})), "[4, 3]"},
      {with("x.lora_B.weight", at::ones({4})), "[4]"},
      {with("x.lora_B.weight", at::ones({4, 2, 3, 3})), "[4, 2, 3, 3]"},
      {with("x.lora_A.weight", at::ones({0, 3})), "[0, 3]"},
      {with("x.lora_A.weight", at::ones({2, 3}, at::kLong)), "I64"},
      {with("x.alpha", at::scalar_tensor(NAN)), "finite"},
      {with("x.alpha", at::ones({2})), "finite"},
      {refused({{"x.alpha", at::scalar_tensor(1)}}), "is missing"},
      {refused({{".lora_A.weight", kDown}}), "no key of a LoRA"}};
  for (const auto& [message, part] : cases) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("lora.safetensors"), std::string::npos) << message;
  }
  EXPECT_NE(error_of<CheckpointError>([&] { LoraFile::open(folder_.file("x.safetensors", "no header")); }),
            "<no error>");
  EXPECT_NE(refused({}), "<no error>");
}

TEST_F(LoraTest, IsDescribed) {
  open({{"x.lora_A.weight", kDown}, {"x.lora_B.weight", kUp}, {"x.lora_magnitude_vector", at::ones({4})}});
  const auto lora = describe_lora(folder_ / "lora.safetensors");
  ASSERT_TRUE(lora);
  EXPECT_EQ(*lora,
            Json::parse(R"({"format":"peft","modules":1,"ranks":[2],"convolutions":false,"dora":true})"));
  save_tensors(folder_ / "plain.safetensors", Tensors{{"x.weight", kUp}});
  EXPECT_FALSE(describe_lora(folder_ / "plain.safetensors"));
}

// A checkpoint of one weight with additions, seen as a model sees it.
class WithLowRankTest : public ::testing::Test {
 protected:
  WithLowRankTest() : weight_(at::randn({150, 7})) {
    save_tensors(folder_ / "model.safetensors", Tensors{{"to_q.weight", weight_.to(at::kHalf)}});
  }
  TensorSourcePtr source(std::vector<LowRank> additions) const {
    const auto kept = std::make_shared<const std::vector<LowRank>>(std::move(additions));
    return with_low_rank(
        Checkpoint::open({.files = {folder_ / "model.safetensors"}, .description = "unet"}),
        [kept](const std::string& module) { return module == "to_q" ? kept.get() : nullptr; });
  }
  static LowRank addition(double scale, bool dora = false) {
    return {.name = "lora",
            .down = at::randn({3, 7}),
            .up = at::randn({150, 3}),
            .magnitude = dora ? at::rand({150}) + 0.5 : at::Tensor(),
            .scale = scale};
  }
  static at::Tensor product(const LowRank& one) { return at::mm(one.up, one.down) * one.scale; }

  test::TempFolder folder_;
  at::Tensor weight_;
};

TEST_F(WithLowRankTest, AddsInFloat32WhateverTheStorage) {
  const LowRank one = addition(0.5), two = addition(-2);
  const WeightScope scope(source({one, two}), {});
  const at::Tensor expected = weight_.to(at::kHalf).to(at::kFloat) + product(one) + product(two);
  EXPECT_LT((scope.weight("to_q.weight", {150, 7}).get() - expected).abs().max().item<double>(), 1e-5);
}

// m * (W + s B A) / |W + s B A|, a row at a time.
TEST_F(WithLowRankTest, KeepsTheLengthsOfDora) {
  const LowRank plain = addition(1), dora = addition(0.7, true);
  const at::Tensor stored = weight_.to(at::kHalf).to(at::kFloat);
  const auto scaled = [&](const at::Tensor& sum) {
    return sum * (dora.magnitude / (stored + product(dora)).norm(2, 1)).unsqueeze(1);
  };
  const at::Tensor expected[] = {scaled(stored + product(dora)),
                                 scaled(stored + product(plain) + product(dora))};
  const std::vector<LowRank> additions[] = {{dora}, {plain, dora}};
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor found = WeightScope(source(additions[i]), {}).weight("to_q.weight", {150, 7}).get();
    EXPECT_LT((found - expected[i]).abs().max().item<double>(), 1e-5);
  }
}

TEST_F(WithLowRankTest, IsTheSameHoweverItIsRead) {
  const auto changed = source({addition(0.5), addition(1, true)});
  const at::Tensor whole = WeightScope(changed, {}).weight("to_q.weight", {150, 7}).get();
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf}) {
    Part part;
    part.add({.module_name = "to_q.weight",
              .name = "to_q.weight",
              .stored = changed->stored("to_q.weight", {150, 7}),
              .storage = {},
              .dtype = dtype});
    part.lie_as_in_files();
    EXPECT_FALSE(part.tensors[0].has_pages);
    const PartMemory memory{page_aligned(part.bytes)};
    PartReader(at::kCPU, nullptr).read(part, memory);
    EXPECT_TRUE(at::equal(memory[part.tensors[0]], whole.to(dtype)));
  }
  // In pieces that do not begin where a block does.
  const StoredTensor stored = changed->stored("to_q.weight", {150, 7});
  at::Tensor pieces = stored.view.to(at::kFloat);
  for (const auto& [first, count] : {std::pair(0, 1), {1, 62}, {63, 2}, {65, 85}}) {
    at::Tensor piece = pieces.narrow(0, first, count);
    change(stored, piece, first);
  }
  EXPECT_TRUE(at::equal(pieces, whole));
}

TEST_F(WithLowRankTest, NamesTheFirstTensorThatDoesNotFit) {
  for (const auto& [rows, row] : {std::pair(150, 6), {149, 7}, {151, 7}}) {
    LowRank one = addition(1);
    one.down = at::ones({3, row});
    one.up = at::ones({rows, 3});
    const auto message = error_of<CheckpointError>([&] {
      WeightScope(source({one}), {}).weight("to_q.weight", {150, 7});
    });
    EXPECT_NE(message.find("to_q.weight"), std::string::npos) << message;
    EXPECT_NE(message.find("another base model"), std::string::npos) << message;
  }
  LowRank bad = addition(1);
  bad.magnitude = at::ones({3});
  EXPECT_THROW(source({bad})->stored("to_q.weight", {150, 7}), CheckpointError);
}

}  // namespace
}  // namespace diffract::weights
