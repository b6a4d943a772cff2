#include "diffract/pipelines/clip_image_processor.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/io/picture.h"
#include "diffract/io/safetensors.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

CLIPImageProcessor processor_of(const Json& config) {
  return CLIPImageProcessor(CLIPImageProcessorConfig::from_json({config, "preprocessor_config.json"}));
}

// To the last bit: the same bytes of Pillow, the same operations.
TEST(CLIPImageProcessor, GivesTransformersPixels) {
  const auto expected = io::SafetensorsFile::open(test::data("models/clip_processor.safetensors"));
  const Json cases = load_json(test::data("models/clip_processor.json"));
  ASSERT_EQ(cases.size(), 7u);
  for (const auto& [name, one] : cases.items()) {
    const auto image = io::load_image(test::data("reference/inputs/" + one["file"].get<std::string>()));
    const at::Tensor found = processor_of(one["config"]).preprocess({image, image});
    const at::Tensor wanted = test::load_tensor(*expected, name);
    ASSERT_EQ(found[0].sizes(), wanted[0].sizes()) << name;
    EXPECT_EQ((found[0] - wanted[0]).abs().max().item<float>(), 0) << name;
    EXPECT_TRUE(at::equal(found[0], found[1])) << name;
  }
}

TEST(CLIPImageProcessor, ReadsTheFormsOfSizesThatConfigsHave) {
  const auto of = [](const char* text) {
    return CLIPImageProcessorConfig::from_json({Json::parse(text), "x"});
  };
  EXPECT_EQ(of("{}").shortest_edge, 224);
  EXPECT_EQ(of(R"({"size": 30, "crop_size": 31})").shortest_edge, 30);
  EXPECT_EQ(of(R"({"size": 30, "crop_size": 31})").crop_size.width, 31);
  EXPECT_EQ(of(R"({"size": {"height": 20, "width": 40}})").size.width, 40);
  EXPECT_EQ(of(R"({"resample": 1})").resample, io::Filter::lanczos);
  for (const char* bad :
       {R"({"resample": 2})", R"({"size": {"shortest_edge": 0}})", R"({"size": {"height": 20}})",
        R"({"size": "big"})", R"({"crop_size": 99999})", R"({"image_mean": [1, 2]})",
        R"({"image_std": [0, 1, 1]})", R"({"rescale_factor": "1"})"})
    EXPECT_THROW(of(bad), CheckpointError) << bad;
}

// A thin picture would become one of 15 million pixels, a wide one of more.
TEST(CLIPImageProcessor, RefusesPicturesThatWouldGrowBeyondBounds) {
  const io::Image thin{.width = 1, .height = 65'535, .pixels = std::vector<uint8_t>(3 * 65'535)};
  const auto message = test::error_of<UsageError>([&] { processor_of(Json::object()).preprocess({thin}); });
  EXPECT_NE(message.find("1x65535"), std::string::npos) << message;
  EXPECT_THROW(processor_of(Json::object()).preprocess({}), UsageError);
  const io::Image square{.width = 4, .height = 4, .pixels = std::vector<uint8_t>(48)},
      wide{.width = 8, .height = 4, .pixels = std::vector<uint8_t>(96)};
  EXPECT_THROW(processor_of({{"do_resize", false}, {"do_center_crop", false}}).preprocess({square, wide}),
               UsageError);
}

}  // namespace
}  // namespace diffract::pipelines
