// LoRAs and textual inversions as options, and those that do not fit the model.
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/load_fields.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"

namespace diffract::loading {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

TEST(LoraOption, HasItsWeightBehindTheLastEqualsSign) {
  const std::tuple<const char*, const char*, double> cases[] = {{"a.safetensors", "a.safetensors", 1},
                                                                {"a.safetensors=0.5", "a.safetensors", 0.5},
                                                                {"a=b/c=-2", "a=b/c", -2},
                                                                {"a=b.safetensors", "a=b.safetensors", 1},
                                                                {"ORG/NAME@main=0", "ORG/NAME@main", 0}};
  for (const auto& [text, path, weight] : cases) {
    const LoraOption option = parse_lora(text);
    EXPECT_EQ(option.path, path);
    EXPECT_EQ(option.weight, weight) << text;
  }
  for (const char* bad : {"a=1e9", "a=nan", "a=inf"})
    EXPECT_NE(error_of<UsageError>([&] { parse_lora(bad); }).find("weight"), std::string::npos) << bad;
}

TEST(TextualInversionOption, HasItsTokenBehindTheLastEqualsSign) {
  const TextualInversionOption option = parse_textual_inversion("a.safetensors=<thing>");
  EXPECT_EQ(option.path, "a.safetensors");
  EXPECT_EQ(option.token, "<thing>");
  EXPECT_EQ(parse_textual_inversion("a.safetensors").token, "");
}

class AdditionsTest : public ::testing::Test {
 protected:
  std::string file(const Tensors& tensors, const std::string& name = "added.safetensors") const {
    weights::save_tensors(folder_ / name, tensors);
    return folder_ / name;
  }
  template <typename E = CheckpointError>
  static std::string refused(const LoadOptions& options, const std::string& model = "sd15") {
    return error_of<E>([&] {
      families::DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/" + model).string(),
                                                   options);
    });
  }
  static void expect(const std::string& message, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  }
  test::TempFolder folder_;
};

TEST_F(AdditionsTest, AreFoundInAFolder) {
  EXPECT_NE(
      error_of<UsageError>([&] { find_addition_file(folder_ / "none", "--lora", kLoraFile); }).find("--lora"),
      std::string::npos);
  EXPECT_NE(error_of<CheckpointError>([&] {
              find_addition_file(folder_.path(), "--lora", kLoraFile);
            }).find(kLoraFile),
            std::string::npos);
  const std::string one = file({{"x", at::ones({1})}}, "one.safetensors");
  EXPECT_EQ(find_addition_file(folder_.path(), "--lora", kLoraFile), one);
  file({{"x", at::ones({1})}}, "two.safetensors");
  expect(error_of<CheckpointError>([&] { find_addition_file(folder_.path(), "--lora", kLoraFile); }),
         {"2 safetensors files", "one.safetensors"});
  const std::string usual = file({{"x", at::ones({1})}}, kLoraFile);
  EXPECT_EQ(find_addition_file(folder_.path(), "--lora", kLoraFile), usual);
}

// A picture's parameters tell two files of one name apart, and nothing of where they are.
TEST_F(AdditionsTest, ArePartOfWhatAPictureDependsOn) {
  const LoadTexts first = {{"lora", file({{"x", at::ones({1})}}) + "=0.5\n"}};
  const Json said = load_parameters(first, LoadField::Scope::images);
  EXPECT_EQ(said["lora"][0]["name"], "added.safetensors");
  EXPECT_EQ(said["lora"][0]["weight"], 0.5);
  EXPECT_EQ(said.dump().find(folder_.path().string()), std::string::npos);
  file({{"x", at::zeros({1})}});
  EXPECT_NE(load_parameters(first, LoadField::Scope::images), said);
}

constexpr const char* kQuery = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";

TEST_F(AdditionsTest, OfAnotherBaseModelAreRefused) {
  const auto lora = [&](const std::string& module, int64_t width) {
    return LoadOptions{.lora = {{.path = file({{module + ".lora_A.weight", at::ones({2, width})},
                                               {module + ".lora_B.weight", at::ones({width, 2})}})}}};
  };
  const std::string query = std::string("unet.") + kQuery;
  EXPECT_EQ(refused(lora(query, 16)), "<no error>");
  expect(refused(lora(query, 20)), {query, "added.safetensors", "[16, 16]", "another base model"});
  expect(refused(lora("unet.down_blocks.7.attn1.to_q", 16)),
         {"down_blocks.7", "no such module", "another base model"});
  expect(refused(lora("text_encoder_2.encoder.layers.0.mlp.fc1", 16)),
         {"text_encoder_2", "StableDiffusionPipeline"});
  expect(refused(lora("transformer.blocks.0.attn.to_q", 16)), {"no component of StableDiffusionPipeline"});
  expect(refused(lora(query, 16), "flux-dev"), {"no component of FluxPipeline"});
  expect(refused(lora("transformer.transformer_blocks.0.attn.to_q", 7), "flux-dev"),
         {"attn.to_q", "another base model"});
  expect(refused(lora("lora_unet_double_blocks_0_img_attn_qkv", 7), "flux-dev"),
         {"img_attn_qkv", "multiple of 3"});
}

TEST_F(AdditionsTest, MayHaveMoreModulesThanTheModel) {
  const std::string known = std::string("unet.") + kQuery;
  const Tensors tensors = {{known + ".lora_A.weight", at::ones({2, 16})},
                           {known + ".lora_B.weight", at::ones({16, 2})},
                           {"unet.other.lora_A.weight", at::ones({2, 16})},
                           {"unet.other.lora_B.weight", at::ones({16, 2})}};
  EXPECT_EQ(refused({.lora = {{.path = file(tensors)}}}), "<no error>");
}

TEST_F(AdditionsTest, AreEmbeddingsOfTheTextEncodersWidth) {
  const auto said = [&](const Tensors& tensors, const std::string& token = "") {
    return refused({.textual_inversion = {{.path = file(tensors), .token = token}}});
  };
  EXPECT_EQ(said({{"<new>", at::ones({32})}}), "<no error>");
  EXPECT_EQ(said({{"emb_params", at::ones({3, 32})}}, "<new>"), "<no error>");
  expect(said({{"<new>", at::ones({33})}}), {"<new>", "33", "32", "another base model"});
  expect(said({{"<new>", at::ones({2, 2, 32})}}), {"[2, 2, 32]"});
  expect(said({{"<new>", at::ones({0, 32})}}), {"[0, 32]"});
  expect(said({{"<new>", at::ones({1001, 1})}}), {"[1001, 1]"});
  expect(said({{"<new>", at::ones({32}, at::kLong)}}), {"I64"});
  expect(said({{"a", at::ones({32})}, {"b", at::ones({32})}}), {"2 tensors"});
}

TEST_F(AdditionsTest, AreEmbeddingsForTokensThatAreNew) {
  const std::string one = file({{"<new>", at::ones({2, 32})}});
  const auto said = [&](const std::vector<TextualInversionOption>& options) {
    return refused<UsageError>({.textual_inversion = options});
  };
  expect(said({{.path = one}, {.path = one}}), {"<new>", "already"});
  expect(said({{.path = one}, {.path = one, .token = "<new>_1"}}), {"<new>_1", "already"});
  expect(said({{.path = one, .token = "<new>_2"}, {.path = one}}), {"<new>_2", "already"});
  expect(said({{.path = one, .token = "<|endoftext|>"}}), {"<|endoftext|>", "already"});
  expect(said({{.path = folder_ / "none.safetensors"}}), {"none.safetensors"});
  EXPECT_EQ(said({{.path = one}, {.path = one, .token = "other"}}), "<no error>");
  expect(refused<UsageError>({.textual_inversion = {{.path = one}}}, "flux-dev"),
         {"textual_inversion", "FluxPipeline"});
}

}  // namespace
}  // namespace diffract::loading
