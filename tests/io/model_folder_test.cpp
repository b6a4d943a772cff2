#include "diffract/io/model_folder.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

using test::error_of;

constexpr const char* kIndex = R"({"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
  "requires_safety_checker": false, "image_encoder": [null, null], "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"]})";

TEST(ModelFolder, ReadsTheIndex) {
  const auto model = ModelFolder::parse(kIndex, "model");
  EXPECT_EQ(model.class_name(), "StableDiffusionPipeline");
  EXPECT_EQ(model.component_names(), (std::vector<std::string>{"unet", "vae"}));
  EXPECT_EQ(model.component_class("vae"), "AutoencoderKL");
  EXPECT_EQ(model.component_class("image_encoder"), "");
}

TEST(ModelFolder, RefusesADamagedIndex) {
  for (const char* bad :
       {"", "[]", "{}", R"({"_class_name": 5})", R"({"_class_name": "A", "../x": ["a", "b"]})",
        R"({"_class_name": "A", "x": [1, "b"]})", R"({"_class_name": "A", "": ["a", "b"]})"})
    EXPECT_THROW(ModelFolder::parse(bad, "model"), CheckpointError) << bad;
}

TEST(ModelFolder, SaysWhatAFolderWithoutAnIndexNeeds) {
  const test::TempFolder folder;
  EXPECT_NE(error_of<CheckpointError>([&] { ModelFolder::open(folder.path()); }).find("model_index.json"),
            std::string::npos);
  EXPECT_THROW(ModelFolder::open(folder / "none"), CheckpointError);
}

TEST(ModelFolder, TakesThePlainFilesWhereOnlyOthersHaveTheVariant) {
  const test::TempFolder folder;
  folder.file("model_index.json", kIndex);
  folder.file("unet/diffusion_pytorch_model.fp16.safetensors", "");
  folder.file("vae/diffusion_pytorch_model.safetensors", "");
  const auto model = ModelFolder::open(folder.path());
  EXPECT_EQ(model.component_weights("unet", "fp16").files[0].filename(),
            "diffusion_pytorch_model.fp16.safetensors");
  EXPECT_EQ(model.component_weights("vae", "fp16").files[0].filename(),
            "diffusion_pytorch_model.safetensors");
  EXPECT_NE(error_of<CheckpointError>([&] { model.component_weights("vae", "bf16"); }).find("bf16"),
            std::string::npos);
  EXPECT_THROW(model.component_weights("unet", ""), CheckpointError);
  EXPECT_THROW(model.component_weights("unet", "/../../vae/x"), UsageError);
}

TEST(WeightFiles, FollowsAnIndexOfShards) {
  const test::TempFolder folder;
  folder.file(
      "model.safetensors.index.json",
      R"({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})");
  folder.file("model-00001-of-00002.safetensors", "");
  EXPECT_NE(error_of<CheckpointError>([&] { find_weight_files(folder.path(), ""); }).find("00002-of-00002"),
            std::string::npos);
  folder.file("model-00002-of-00002.safetensors", "");
  EXPECT_EQ(find_weight_files(folder.path(), "").files.size(), 2u);
}

TEST(WeightFiles, KeepsShardsInTheirFolder) {
  for (const char* bad :
       {R"({"weight_map": {"a": "../other.safetensors"}})", R"({"weight_map": {"a": "/etc/x.safetensors"}})",
        R"({"weight_map": {"a": "x.bin"}})", R"({"weight_map": {"a": 5}})", R"({"weight_map": {}})",
        R"({"weight_map": []})", R"({})"})
    EXPECT_THROW(parse_shard_index(parse_json(bad, "index"), "index"), CheckpointError) << bad;
}

TEST(WeightFiles, SaysWhyPicklesAreNotRead) {
  const test::TempFolder folder;
  EXPECT_NE(error_of<CheckpointError>([&] { find_weight_files(folder.path(), ""); }).find("has no weights"),
            std::string::npos);
  folder.file("diffusion_pytorch_model.bin", "");
  EXPECT_NE(error_of<CheckpointError>([&] { find_weight_files(folder.path(), ""); }).find("pickled"),
            std::string::npos);
}

}  // namespace
}  // namespace diffract::io
