#include "diffract/models/unet_2d_config.h"

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

TEST(UNet2DConditionConfig, RefusesToLeaveTheNormalisationOut) {
  const auto message = error_with("norm_num_groups", nullptr);
  EXPECT_NE(message.find("unet/config.json: \"norm_num_groups\" is null"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::models
