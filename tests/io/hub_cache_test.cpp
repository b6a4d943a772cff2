#include "diffract/io/hub_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/io/missing_files.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

using test::error_of;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

// A cache with org/name, whose snapshot has an index that names a unet.
class HubCache : public ::testing::Test {
 protected:
  HubCache() {
    const std::string snapshot = std::string("models--org--name/snapshots/") + kCommit;
    cache_.file("models--org--name/refs/main", std::string(kCommit) + "\n");
    cache_.file("models--org--name/refs/pr/1", kCommit);
    cache_.file(
        snapshot + "/model_index.json",
        R"({"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"], "scheduler": ["diffusers", "S"]})");
    cache_.file(snapshot + "/scheduler/scheduler_config.json", "{}");
    unet_config_ = snapshot + "/unet/config.json";
  }
  // As every command does it that runs a model.
  std::filesystem::path find(const std::string& model) const {
    auto snapshot = find_snapshot(model, Wanted::all, cache_.path());
    require_configs(snapshot, model);
    return snapshot;
  }
  test::TempFolder cache_;
  std::string unet_config_;
};

TEST_F(HubCache, FindsBranchesTagsAndCommits) {
  cache_.file(unet_config_, "{}");
  const auto snapshot = cache_ / ("models--org--name/snapshots/" + std::string(kCommit));
  EXPECT_EQ(find("org/name"), snapshot);
  EXPECT_EQ(find("org/name@main"), snapshot);
  EXPECT_EQ(find("org/name@pr/1"), snapshot);
  EXPECT_EQ(find("org/name@" + std::string(kCommit)), snapshot);
}

TEST_F(HubCache, NamesTheFilesThatAreMissing) {
  const auto message = error_of<CheckpointError>([&] { find("org/name"); });
  EXPECT_NE(message.find("unet/config.json"), std::string::npos) << message;
  EXPECT_NE(message.find("hf download org/name"), std::string::npos) << message;
}

// A FLUX download that broke off: every component's missing files are named at once.
TEST_F(HubCache, NamesTheMissingFilesOfAllComponents) {
  const std::string snapshot = std::string("models--org--name/snapshots/") + kCommit;
  const auto write = [&](const std::string& file, const std::string& text) {
    cache_.file(snapshot + "/" + file, text);
  };
  write("model_index.json",
        R"({"_class_name": "FluxPipeline", "scheduler": ["diffusers", "S"],
            "text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"]})");
  for (const char* component : {"text_encoder", "text_encoder_2", "transformer", "vae"})
    write(fmt::format("{}/config.json", component), "{}");
  write("tokenizer/vocab.json", "{}");
  write("transformer/diffusion_pytorch_model.safetensors.index.json",
        R"({"weight_map": {"a": "d-00001-of-00002.safetensors", "b": "d-00002-of-00002.safetensors"}})");
  write("transformer/d-00001-of-00002.safetensors", "");
  write("text_encoder_2/model-00002-of-00002.safetensors", "");
  const std::vector<std::string> data = {"text_encoder/model.safetensors",
                                         "text_encoder_2/model.safetensors.index.json",
                                         "tokenizer/merges.txt",
                                         "tokenizer_2/tokenizer.json or spiece.model",
                                         "transformer/d-00002-of-00002.safetensors",
                                         "vae/diffusion_pytorch_model.safetensors"};
  const auto folder = cache_ / snapshot;
  EXPECT_EQ(missing_files(ModelFolder::open(folder), ""), data);

  // The tokenizers' configs are missing too, so that every command refuses the snapshot, naming all.
  const auto refused = error_of<CheckpointError>([&] { find("org/name"); });
  for (const std::string& file : data) EXPECT_NE(refused.find(file), std::string::npos) << refused;
  EXPECT_NE(refused.find("tokenizer_2/tokenizer_config.json"), std::string::npos) << refused;

  // With all configs a plan can be made, but no picture.
  for (const char* tokenizer : {"tokenizer", "tokenizer_2"})
    write(fmt::format("{}/tokenizer_config.json", tokenizer), "{}");
  EXPECT_EQ(find("org/name"), folder);
  const auto needed =
      error_of<CheckpointError>([&] { require_all_files(ModelFolder::open(folder), "", "org/name@pr/1"); });
  for (const std::string& file : data) EXPECT_NE(needed.find(file), std::string::npos) << needed;
  EXPECT_NE(needed.find("hf download org/name --revision pr/1"), std::string::npos) << needed;
}

TEST(MissingFiles, AsksForPlainWeightsWhereAComponentHasNotTheVariant) {
  const test::TempFolder folder;
  folder.file("model_index.json",
              R"({"_class_name": "X", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"],
                                      "safety_checker": ["x", "S"], "image_encoder": ["x", "I"]})");
  for (const char* file : {"unet/config.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
                           "unet/diffusion_pytorch_model.fp16.safetensors"})
    folder.file(file, "{}");
  const auto model = ModelFolder::open(folder.path());
  EXPECT_EQ(missing_files(model, "fp16"), std::vector<std::string>());
  EXPECT_EQ(missing_files(model, ""), std::vector<std::string>{"unet/diffusion_pytorch_model.safetensors"});
}

// People download the fp16 files only and forget the variant.
TEST(MissingFiles, NamesTheVariantThatHelps) {
  const test::TempFolder folder;
  folder.file("model_index.json",
              R"({"_class_name": "X", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"]})");
  for (const char* file :
       {"unet/config.json", "vae/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.non_ema.safetensors"})
    folder.file(file, "{}");
  const auto model = ModelFolder::open(folder.path());
  EXPECT_EQ(helpful_variants(model), (std::vector<std::string>{"fp16", "non_ema"}));
  const auto two = error_of<CheckpointError>([&] { require_all_files(model, "", folder.path().string()); });
  EXPECT_NE(two.find("of the variant fp16, non_ema: --variant fp16, or --variant non_ema"), std::string::npos)
      << two;
  folder.file("vae/diffusion_pytorch_model.safetensors", "{}");
  EXPECT_EQ(helpful_variants(model), std::vector<std::string>{"fp16"});
  const auto message =
      error_of<CheckpointError>([&] { require_all_files(model, "", folder.path().string()); });
  EXPECT_NE(message.find("--variant fp16"), std::string::npos) << message;
  EXPECT_NE(message.find("unet/diffusion_pytorch_model.safetensors"), std::string::npos) << message;
  EXPECT_NE(
      error_of<CheckpointError>([&] { model.component_weights("unet", "bf16"); }).find("--variant fp16"),
      std::string::npos);
}

TEST_F(HubCache, TellsAPlanToFetchTheJsonFilesOnly) {
  for (const auto& message :
       {error_of<CheckpointError>([&] { find_snapshot("org/other", Wanted::configs, cache_.path()); }),
        error_of<CheckpointError>([&] { find_snapshot("org/name@v2", Wanted::configs, cache_.path()); }),
        error_of<CheckpointError>([&] {
          require_configs(find_snapshot("org/name", Wanted::configs, cache_.path()), "org/name",
                          Wanted::configs);
        })})
    EXPECT_NE(message.find("--include \"*.json\""), std::string::npos) << message;
  EXPECT_EQ(error_of<CheckpointError>([&] {
              find_snapshot("org/other", Wanted::all, cache_.path());
            }).find("--include"),
            std::string::npos);
  EXPECT_TRUE(is_in_cache("org/name@v2", cache_.path()));
  EXPECT_FALSE(is_in_cache("org/other", cache_.path()));
}

TEST_F(HubCache, SaysWhereItLooked) {
  const auto message = error_of<CheckpointError>([&] { find("org/other"); });
  EXPECT_NE(message.find(cache_.path().string()), std::string::npos) << message;
  EXPECT_NE(error_of<CheckpointError>([&] { find("org/name@v2"); }).find("\"v2\""), std::string::npos);
}

TEST_F(HubCache, DoesNotLeaveTheCache) {
  for (const char* bad :
       {"../x", "a/../b", "a/b@../../x", "a/b/c", "/a/b", "", "a/", "a b/c", "a/b@", "...", "a/.b"})
    EXPECT_THROW(find(bad), CheckpointError) << bad;
  cache_.file("models--org--name/refs/evil", "../../..");
  EXPECT_THROW(find("org/name@evil"), CheckpointError);
}

TEST(HubCacheFolder, FollowsTheHubsOwnVariables) {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"})
    ::unsetenv(name);
  ::setenv("HOME", "/home/user", 1);
  EXPECT_EQ(hub_cache_folder(), "/home/user/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(hub_cache_folder(), "/xdg/huggingface/hub");
  ::setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(hub_cache_folder(), "/hf/hub");
  ::setenv("HF_HUB_CACHE", "/cache", 1);
  EXPECT_EQ(hub_cache_folder(), "/cache");
}

}  // namespace
}  // namespace diffract::io
