#include "diffract/io/hub_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/core/error.h"
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
  test::TempFolder cache_;
  std::string unet_config_;
};

TEST_F(HubCache, FindsBranchesTagsAndCommits) {
  cache_.file(unet_config_, "{}");
  const auto snapshot = cache_ / ("models--org--name/snapshots/" + std::string(kCommit));
  EXPECT_EQ(resolve_model("org/name", cache_.path()), snapshot);
  EXPECT_EQ(resolve_model("org/name@main", cache_.path()), snapshot);
  EXPECT_EQ(resolve_model("org/name@pr/1", cache_.path()), snapshot);
  EXPECT_EQ(resolve_model("org/name@" + std::string(kCommit), cache_.path()), snapshot);
}

TEST_F(HubCache, NamesTheFilesThatAreMissing) {
  const auto message = error_of<CheckpointError>([&] { resolve_model("org/name", cache_.path()); });
  EXPECT_NE(message.find("unet/config.json"), std::string::npos) << message;
  EXPECT_NE(message.find("hf download org/name"), std::string::npos) << message;
}

TEST_F(HubCache, SaysWhereItLooked) {
  const auto message = error_of<CheckpointError>([&] { resolve_model("org/other", cache_.path()); });
  EXPECT_NE(message.find(cache_.path().string()), std::string::npos) << message;
  EXPECT_NE(error_of<CheckpointError>([&] { resolve_model("org/name@v2", cache_.path()); }).find("\"v2\""),
            std::string::npos);
}

TEST_F(HubCache, DoesNotLeaveTheCache) {
  for (const char* bad :
       {"../x", "a/../b", "a/b@../../x", "a/b/c", "/a/b", "a/", "a b/c", "a/b@", "...", "a/.b"})
    EXPECT_THROW(resolve_model(bad, cache_.path()), CheckpointError) << bad;
  EXPECT_THROW(resolve_model("", cache_.path()), UsageError);
  cache_.file("models--org--name/refs/evil", "../../..");
  EXPECT_THROW(resolve_model("org/name@evil", cache_.path()), CheckpointError);
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
