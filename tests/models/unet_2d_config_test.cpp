#include "diffract/models/unet/unet_2d_config.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::models {
namespace {

UNet2DConditionConfig with(const char* key, const Json& value) {
  Json config = load_json(test::data("reference/checkpoints/sd15/unet/config.json"));
  config[key] = value;
  return UNet2DConditionConfig::from_json(ConfigReader(config, "unet/config.json"));
}

std::string error_with(const char* key, const Json& value) {
  return test::error_of<CheckpointError>([&] { with(key, value); });
}

TEST(UNet2DConditionConfig, TakesOneSampleSizeOrAHeightAndAWidth) {
  EXPECT_EQ(with("sample_size", 24).sample_size, 24);
  EXPECT_EQ(with("sample_size", 24).sample_width, 24);
  const auto list = with("sample_size", {16, 12});
  EXPECT_EQ(list.sample_size, 16);
  EXPECT_EQ(list.sample_width, 12);
  EXPECT_EQ(with("sample_size", nullptr).sample_width, 64);
  for (const Json& bad : {Json({16}), Json({16, 16, 16}), Json({16, 0}), Json("16")})
    EXPECT_NE(error_with("sample_size", bad).find("\"sample_size\""), std::string::npos) << bad;
}

// What diffusers' StableDiffusionPipeline makes of them.
TEST(UNet2DConditionConfig, TakesSizesBelow64FromBeforeVersion0_9For64) {
  const auto size = [](const Json& version, const Json& sample_size) {
    Json config = load_json(test::data("reference/checkpoints/sd15/unet/config.json"));
    config["sample_size"] = sample_size;
    config["_diffusers_version"] = version;
    return sample_size_of(ConfigReader(config, "unet/config.json")).width;
  };
  for (const char* old : {"0.8.1", "0.6.0.dev0", "0.0.1"}) EXPECT_EQ(size(old, 32), 64) << old;
  EXPECT_EQ(size("0.8.1", 96), 96);
  EXPECT_EQ(size("0.8.1", {32, 32}), 32);
  for (const Json& other : {Json("0.9.0"), Json("0.42.1"), Json("1.0"), Json("x"), Json(0.8), Json(nullptr)})
    EXPECT_EQ(size(other, 32), 32) << other;
}

TEST(UNet2DConditionConfig, ReadsTheLayersOfEachAttention) {
  using Layers = std::vector<std::vector<int64_t>>;
  Json config = load_json(test::data("reference/checkpoints/sdxl/unet/config.json"));
  const auto read = [&] {
    return UNet2DConditionConfig::from_json(ConfigReader(config, "unet/config.json"));
  };
  EXPECT_EQ(read().transformer_layers_per_block, (Layers{{1}, {2}}));
  EXPECT_EQ(read().transformer_layers_on_the_way_up, (Layers{{1, 1}, {2, 2}}));
  config["transformer_layers_per_block"] = {1, {3}};
  EXPECT_THROW(read(), CheckpointError);
  config["reverse_transformer_layers_per_block"] = {{4, 5}, 6};
  EXPECT_EQ(read().transformer_layers_per_block, (Layers{{1}, {3}}));
  EXPECT_EQ(read().transformer_layers_on_the_way_up, (Layers{{6, 6}, {4, 5}}));
  for (const int64_t odd : {1, 2, 9}) {
    config["addition_time_embed_dim"] = odd;
    EXPECT_THROW(read(), CheckpointError) << odd;
  }
}

TEST(UNet2DConditionConfig, RefusesToLeaveTheNormalisationOut) {
  const auto message = error_with("norm_num_groups", nullptr);
  EXPECT_NE(message.find("unet/config.json: \"norm_num_groups\" is null"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::models
