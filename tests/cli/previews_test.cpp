// --preview-every as a user meets it: what a picture looks like on its way, and the picture as it is without.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "diffract/core/file.h"
#include "tests/cli/program_fixture.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

class Previews : public test::Program {
 protected:
  test::ProgramResult draw(std::vector<std::string> more, const std::string& model) const {
    std::vector<std::string> all = {"generate", "--model", model,     "--steps", "5",
                                    "--height", "64",      "--width", "96"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string bytes(const std::string& name) const { return load_text(folder_ / name, 1 << 20); }
  std::string taesd_ = test::data("reference/checkpoints/taesd").string();
};

TEST_F(Previews, LieBesideThePictureWhichStaysAsItIs) {
  ASSERT_EQ(draw({"a dog", "--output", "plain.png", "--scheduler", "EulerAncestralDiscreteScheduler"}, model_)
                .exit_code,
            0);
  const auto result = draw({"a dog", "--output", "seen.png", "--scheduler", "EulerAncestralDiscreteScheduler",
                            "--preview-every", "2"},
                           model_);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(names(),
            (std::vector<std::string>{"plain.png", "seen.png", "seen.step_001.png", "seen.step_003.png"}));
  EXPECT_EQ(bytes("plain.png"), bytes("seen.png"));
  const auto preview = io::load_png(folder_ / "seen.step_003.png").image;
  EXPECT_EQ(preview.width, 96u);
  EXPECT_EQ(preview.height, 64u);
  EXPECT_NE(preview.pixels, io::load_png(folder_ / "seen.step_001.png").image.pixels);
}

// What the VAE makes of the latents after the step, as diffusers' callback would decode them.
TEST_F(Previews, AreOfTheLatentsAfterTheStep) {
  ASSERT_EQ(draw({"a dog", "--preview-every", "1", "--output", "a.png"}, model_).exit_code, 0);
  ASSERT_EQ(draw({"a dog", "--preview-every", "1", "--output", "b.png", "--vae", taesd_}, model_).exit_code,
            0);
  ASSERT_EQ(
      draw({"a dog", "--preview-every", "1", "--output", "c.png", "--preview-vae", taesd_}, model_).exit_code,
      0);
  EXPECT_EQ(bytes("a.png"), bytes("c.png"));
  for (const char* step : {"000", "001", "002", "003"}) {
    const auto pixels = [&](const char* name) {
      return io::load_png(folder_ / fmt::format("{}.step_{}.png", name, step)).image.pixels;
    };
    EXPECT_EQ(pixels("b"), pixels("c")) << step;
    EXPECT_NE(pixels("a"), pixels("c")) << step;
  }
  EXPECT_TRUE(fs::exists(folder_ / "a.step_004.png"));
  EXPECT_FALSE(fs::exists(folder_ / "a.step_005.png"));  // PNDM evaluates once more: that is the picture
}

TEST_F(Previews, AreOfEachPictureOfABatch) {
  const auto result = draw({"--prompt", "a dog", "--prompt", "a cat", "--batch-size", "2", "--preview-every",
                            "4", "--device-map", "auto", "--max-memory", "cpu=1GB"},
                           model_);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(fs::exists(folder_ / "image_0.step_003.png"));
  EXPECT_NE(bytes("image_0.step_003.png"), bytes("image_1.step_003.png"));
}

TEST_F(Previews, AreRefusedWhereThereAreNone) {
  const auto refused = [&](std::vector<std::string> more, const std::string& model, const std::string& part) {
    more.insert(more.end(), {"a dog", "--preview-every", "2"});
    const auto result = draw(more, model);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << part << ": " << result.err;
  };
  refused({}, test::data("reference/checkpoints/flux-dev").string(), "has no previews yet");
  refused({"--output-type", "latent"}, model_, "--output-type latent");
  refused({"--device-map", "ranks"}, model_, "--preview-every");
  refused({"--output", "{index}.step_3.png"}, model_, "name of a preview");
  refused({"--preview-vae", model_ + "/unet"}, model_, "another class");
  EXPECT_EQ(draw({"a dog", "--preview-every", "-1"}, model_).exit_code, 2);
  EXPECT_TRUE(names().empty());
}

}  // namespace
}  // namespace diffract
