// Pictures as a user gives them: options, JSON lines, --resume, and what is refused.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "diffract/core/file.h"
#include "diffract/core/json.h"
#include "tests/cli/program_fixture.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

class Pictures : public test::Program {
 protected:
  test::ProgramResult draw(std::vector<std::string> more) const {
    more.insert(more.begin(), {"generate", "--model", model_, "--steps", "2"});
    return run(more);
  }
  // Copies a picture of the reference data into the test's folder.
  void put(const std::string& name, const std::string& source) const {
    folder_.file(name, load_text(test::data("reference/inputs/" + source), 1 << 20));
  }
  Json parameters(const std::string& png) const { return Json::parse(text_of(png, "diffract")); }
};

TEST_F(Pictures, AreNamedByOptions) {
  put("a.png", "odd.png");
  const auto result = draw({"a dog", "--image", "a.png", "--strength", "0.5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json made = parameters("image_0.png");
  EXPECT_EQ(made["pipeline"], "StableDiffusionImg2ImgPipeline");
  EXPECT_EQ(made["strength"], 0.5);
  EXPECT_EQ(made["width"], 72);
  EXPECT_TRUE(made["image"].get<std::string>().starts_with("sha256:")) << made;
  EXPECT_NE(text_of("image_0.png", "parameters").find("Denoising strength: 0.5"), std::string::npos);
}

TEST_F(Pictures, AreNamedByJsonLines) {
  put("a.png", "square.png");
  put("m.png", "mask.png");
  folder_.file("p.jsonl",
               "{\"prompt\": \"a dog\", \"image\": \"a.png\"}\n"
               "{\"prompt\": \"a cat\", \"image\": \"a.png\", \"mask_image\": \"m.png\", \"width\": 64, "
               "\"height\": 64}\n"
               "{\"prompt\": \"a bird\", \"width\": 64, \"height\": 64}\n");
  const auto result = draw({"--prompts-file", "p.jsonl", "--batch-size", "4"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(parameters("image_0.png")["pipeline"], "StableDiffusionImg2ImgPipeline");
  EXPECT_EQ(parameters("image_1.png")["pipeline"], "StableDiffusionInpaintPipeline");
  EXPECT_FALSE(parameters("image_2.png").contains("pipeline"));
}

// A plan is made for the picture's size before the model is there to cut it.
TEST_F(Pictures, OfOddSizesArePlannedFor) {
  put("a.png", "odd.png");
  const auto result = draw({"a dog", "--image", "a.png", "--device-map", "auto", "--max-memory", "cpu=2GB"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(parameters("image_0.png")["width"], 72);
}

TEST_F(Pictures, OfWhichAPartIsDrawnKeepTheirSize) {
  put("a.png", "photo.png");
  put("m.png", "mask_photo.png");
  const auto result = draw({"a dog", "--image", "a.png", "--mask-image", "m.png", "--padding-mask-crop", "4",
                            "--width", "64", "--height", "64", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json image = Json::parse(result.out)["images"][0];
  EXPECT_EQ(image["width"], 96);
  EXPECT_EQ(image["height"], 72);
  EXPECT_EQ(io::load_png(folder_ / "image_0.png").image.width, 96u);
  EXPECT_EQ(parameters("image_0.png")["width"], 64);
}

TEST_F(Pictures, AreKnownByTheirContentWhenAJobGoesOn) {
  put("a.png", "square.png");
  put("b.png", "gray.png");
  const std::vector<std::string> job = {"--prompt", "a dog", "--prompt", "a cat",
                                        "--image",  "a.png", "--image",  "b.png"};
  ASSERT_EQ(draw(job).exit_code, 0);
  const auto first = fs::last_write_time(folder_ / "image_0.png"),
             second = fs::last_write_time(folder_ / "image_1.png");
  put("b.png", "tall.png");
  auto again = job;
  again.emplace_back("--resume");
  const auto result = draw(again);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(fs::last_write_time(folder_ / "image_0.png"), first);
  EXPECT_NE(fs::last_write_time(folder_ / "image_1.png"), second);
  fs::rename(folder_ / "a.png", folder_ / "c.png");  // another name is no other picture
  again[5] = "c.png";
  ASSERT_EQ(draw(again).exit_code, 0);
  EXPECT_EQ(fs::last_write_time(folder_ / "image_0.png"), first);
}

TEST_F(Pictures, AreRefusedByName) {
  put("a.png", "square.png");
  put("m.png", "mask.png");
  put("odd.png", "mask_odd.png");
  folder_.file("empty.png", "");
  folder_.file("text.png", "no picture");
  folder_.file("half.png", load_text(test::data("reference/inputs/photo.png"), 1 << 20).substr(0, 700));
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--image", "none.png"}, "--image: none.png: no such file"},
      {{"--image", "empty.png"}, "--image: empty.png: is empty"},
      {{"--image", "."}, "--image: .: not a regular file"},
      {{"--image", "text.png"}, "--image: text.png: is no picture; expected PNG, JPEG or WebP"},
      {{"--mask-image", "text.png"}, "--mask-image: text.png: is no picture"},
      {{"--image", "half.png"}, "half.png: not a sound PNG"},
      {{"--mask-image", "m.png"}, "image: StableDiffusionInpaintPipeline begins with a picture"},
      {{"--strength", "0.5"}, "strength: StableDiffusionPipeline does not take it"},
      {{"--image", "a.png", "--height", "64"}, "height: StableDiffusionImg2ImgPipeline does not take it"},
      {{"--image", "a.png", "--strength", "2"}, "strength 2: expected 0 to 1"},
      {{"--image", "a.png", "--strength", "0.1"}, "strength 0.1: leaves no step of 2"},
      {{"--image", "a.png", "--mask-image", "odd.png", "--padding-mask-crop", "4"},
       "takes masks of the picture's size"},
      {{"--image", "a.png", "--pipeline", "FluxPipeline"},
       "pipeline FluxPipeline: this model has no such class"},
      {{"--image", "a.png", "--image", "a.png"}, "image: 2 given for 1 prompts"}};
  for (const auto& [options, expected] : cases) {
    std::vector<std::string> all = {"--prompt", "a"};
    all.insert(all.end(), options.begin(), options.end());
    const auto result = draw(all);
    EXPECT_NE(result.exit_code, 0) << expected;
    EXPECT_NE(result.err.find(expected), std::string::npos) << expected << "\n" << result.err;
  }
}

}  // namespace
}  // namespace diffract
