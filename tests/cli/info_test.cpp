// diffract info as a user meets it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/json.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

class InfoProgram : public ::testing::Test {
 protected:
  test::ProgramResult info(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"info"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return test::run_diffract(all, folder_.path().string());
  }

  test::TempFolder folder_;
  std::string model_ = test::data("reference/checkpoints/sd15").string();
};

// As older Stable Diffusion checkpoints are: what is not run may have pickled weights, or none.
TEST_F(InfoProgram, DescribesTheOtherComponentsWhereOneHasAProblem) {
  fs::copy(model_, folder_ / "model", fs::copy_options::recursive);
  Json index = load_json(folder_ / "model/model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  index["image_encoder"] = {"transformers", "CLIPVisionModelWithProjection"};
  folder_.file("model/model_index.json", index.dump());
  folder_.file("model/safety_checker/pytorch_model.bin", "pickle");
  const auto result = info({"model", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json parts = Json::parse(result.out)["components"];
  EXPECT_GT(parts["unet"]["parameters"].get<int64_t>(), 100'000);
  EXPECT_FALSE(parts["unet"].contains("problem"));
  EXPECT_NE(parts["safety_checker"]["problem"].get<std::string>().find("pickled"), std::string::npos);
  EXPECT_NE(parts["image_encoder"]["problem"].get<std::string>().find("no such folder"), std::string::npos);
  const auto text = info({"model"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_NE(text.out.find("pickled"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("UNet2DConditionModel"), std::string::npos) << text.out;
}

TEST_F(InfoProgram, DescribesASingleModelsFolder) {
  const auto result = info({model_ + "/unet", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json unet = Json::parse(result.out);
  EXPECT_EQ(unet["class"], "UNet2DConditionModel");
  EXPECT_GT(unet["parameters"].get<int64_t>(), 100'000);
  EXPECT_EQ(unet["files"], 1);
  EXPECT_NE(info({model_ + "/text_encoder"}).out.find("CLIPTextModel"), std::string::npos);

  folder_.file("bare/config.json", R"({"_class_name": "FluxTransformer2DModel"})");
  const auto bare = info({"bare"});
  EXPECT_EQ(bare.exit_code, 0);
  EXPECT_NE(bare.out.find("has no weights"), std::string::npos) << bare.out;
}

TEST_F(InfoProgram, DescribesALora) {
  const auto file = test::data("reference/loras/sd15_kohya_conv.safetensors").string();
  const Json found = Json::parse(info({file, "--json"}).out)["lora"];
  EXPECT_EQ(found["format"], "kohya");
  EXPECT_EQ(found["ranks"], Json::array({2}));
  EXPECT_EQ(found["convolutions"], true);
  EXPECT_NE(info({file}).out.find("LoRA (kohya): 79 modules"), std::string::npos);
  const std::string model = model_ + "/unet/diffusion_pytorch_model.safetensors";
  EXPECT_FALSE(Json::parse(info({model, "--json"}).out).contains("lora"));
}

}  // namespace
}  // namespace diffract
