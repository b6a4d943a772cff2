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

// What a later save leaves beside an earlier one.
class SingleAndSharded : public ::testing::Test {
 protected:
  void write(const std::string& stem) const {
    folder_.file(stem + ".safetensors", "");
    folder_.file(
        stem + ".safetensors.index.json",
        fmt::format(R"({{"weight_map": {{"a": "{0}-1.safetensors", "b": "{0}-2.safetensors"}}}})", stem));
    folder_.file(stem + "-1.safetensors", "");
    folder_.file(stem + "-2.safetensors", "");
  }
  // The files that are read, and what is said.
  std::pair<size_t, std::string> find() const {
    ::testing::internal::CaptureStderr();
    const auto files = find_weight_files(folder_.path(), "");
    return {files.files.size(), ::testing::internal::GetCapturedStderr()};
  }
  test::TempFolder folder_;
};

TEST_F(SingleAndSharded, IsReadByTheIndexAsDiffusersDoes) {
  write("diffusion_pytorch_model");
  const auto [files, said] = find();
  EXPECT_EQ(files, 2u);
  EXPECT_NE(said.find("diffusion_pytorch_model.safetensors.index.json"), std::string::npos) << said;
  EXPECT_NE(said.find("diffusion_pytorch_model.safetensors is there too"), std::string::npos) << said;
  EXPECT_EQ(missing_weight_files(folder_.path(), ""), std::vector<std::string>());
}

TEST_F(SingleAndSharded, IsReadFromTheSingleFileAsTransformersDoes) {
  write("model");
  EXPECT_EQ(find().first, 1u);
  folder_.file("model.safetensors.index.json", "not even JSON");
  EXPECT_EQ(find().first, 1u);
}

TEST_F(SingleAndSharded, PassesOverAnIndexWhoseShardsAreGone) {
  write("diffusion_pytorch_model");
  std::filesystem::remove(folder_ / "diffusion_pytorch_model-2.safetensors");
  const auto [files, said] = find();
  EXPECT_EQ(files, 1u);
  EXPECT_NE(said.find("diffusion_pytorch_model-2.safetensors"), std::string::npos) << said;
  EXPECT_EQ(missing_weight_files(folder_.path(), ""), std::vector<std::string>());
}

// A tensor of one byte.
void write_tensor(const test::TempFolder& folder, const std::string& file, const std::string& name,
                  char value) {
  const std::string header =
      fmt::format(R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}})", name);
  uint64_t length = header.size();
  folder.file(file, std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + value);
}

TEST(WeightFiles, TakesATensorOfTwoShardsFromTheOneThatTheIndexNames) {
  const test::TempFolder folder;
  write_tensor(folder, "model-1.safetensors", "a", 1);
  write_tensor(folder, "model-2.safetensors", "a", 2);
  write_tensor(folder, "model-3.safetensors", "b", 3);
  for (const char named : {'1', '2'}) {
    folder.file("model.safetensors.index.json",
                fmt::format(R"({{"weight_map": {{"a": "model-{}.safetensors", "b": "model-3.safetensors", )"
                            R"("c": "model-1.safetensors", "d": "model-2.safetensors"}}}})",
                            named));
    const auto tensors = open_weight_files(find_weight_files(folder.path(), ""));
    const auto& weight = tensors.at("a");
    EXPECT_EQ(static_cast<char>(weight.file->bytes(*weight.info)[0]), named - '0');
    EXPECT_EQ(tensors.size(), 2u);
  }
  folder.file(
      "model.safetensors.index.json",  // of both, neither is meant
      R"({"weight_map": {"a": "model-3.safetensors", "c": "model-1.safetensors", "d": "model-2.safetensors"}})");
  EXPECT_NE(error_of<CheckpointError>([&] {
              open_weight_files(find_weight_files(folder.path(), ""));
            }).find("\"a\""),
            std::string::npos);
}

TEST(WeightFiles, NamesTheVariantsThatAreThere) {
  const test::TempFolder folder;
  folder.file("model.fp16.safetensors", "");
  folder.file("model.safetensors.index.bf16.json", "{}");
  folder.file("model.fp16-00001-of-00002.safetensors", "");  // of an index that is not there
  folder.file("other.fp8.safetensors", "");
  EXPECT_EQ(weight_variants(folder.path()), (std::vector<std::string>{"bf16", "fp16"}));
  const auto message = error_of<CheckpointError>([&] { find_weight_files(folder.path(), ""); });
  EXPECT_NE(message.find("--variant bf16"), std::string::npos) << message;
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
