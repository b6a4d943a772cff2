// What `generate` and `plan` say and do about memory.
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/json.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

class MemoryProgram : public ::testing::Test {
 protected:
  test::ProgramResult run(const std::vector<std::string>& arguments) const {
    return test::run_diffract(arguments, folder_.path().string());
  }
  test::TempFolder folder_;
};

// 64 pictures of a quarter of a gigapixel take terabytes on any machine.
TEST_F(MemoryProgram, RefusesAPictureThatTakesMoreThanThereIs) {
  for (const char* model : {"emoji-sd", "emoji-flux"}) {
    const auto result =
        run({"generate", "--model", model, "--prompt", "dog", "--steps", "1", "--height", "16384", "--width",
             "16384", "--num-images-per-prompt", "64", "--batch-size", "64"});
    EXPECT_EQ(result.exit_code, 4) << result.err;
    for (const char* part : {"64 pictures of 16384x16384 pixels take ", "are free there", "--batch-size"})
      EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << model;
  }
}

TEST_F(MemoryProgram, FailsThePictureAndMakesTheOthers) {
  const auto file = folder_.file("p.jsonl",
                                 "{\"prompt\":\"dog\",\"num_inference_steps\":1}\n"
                                 "{\"prompt\":\"cat\",\"height\":16384,\"width\":16384,"
                                 "\"num_images_per_prompt\":64,\"num_inference_steps\":1}\n");
  const auto result = run({"generate", "--prompts-file", file.string(), "--batch-size", "64"});
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "image_0.png"));
}

TEST_F(MemoryProgram, SaysThatAJobsModelsStay) {
  const auto result = run({"generate", "--model", "emoji-flux", "--prompt", "dog", "--num-images-per-prompt",
                           "6", "--steps", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json summary = parse_json(result.out, "stdout");
  for (const char* name : {"text_encoder", "text_encoder_2", "transformer", "vae"})
    EXPECT_EQ(summary["components"][name], Json({{"stays", true}, {"loads", 1}})) << name;
}

TEST_F(MemoryProgram, PlansWhatStays) {
  const auto stays = [&](const char* budget) {
    const auto result = run({"plan", "--model", "emoji-flux", "--max-memory", budget, "--json",
                             "--gflops=100", "--host-gbps=10", "--disk-gbps=1"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "stdout")["components"];
  };
  const Json plenty = stays("0=10GB");
  EXPECT_EQ(plenty.size(), 4u);
  for (const auto& [name, component] : plenty.items()) EXPECT_TRUE(component["stays"]) << name;
  EXPECT_FALSE(stays("0=30MB")["transformer"]["stays"]);
}

}  // namespace
}  // namespace diffract
