// A single file as the model, and components from elsewhere, as a user meets them.
#include <fmt/format.h>

#include <filesystem>

#include "diffract/core/file.h"
#include "diffract/core/json.h"
#include "tests/cli/program_fixture.h"
#include "tests/support/variable.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

class SingleFileProgram : public test::Program {
 protected:
  std::vector<std::string> model(const std::string& file) const {
    return {"--model", file, "--config", config_};
  }
  test::ProgramResult draw(std::vector<std::string> more, const std::string& file) const {
    std::vector<std::string> all = {"generate", "--steps", "2", "--height", "64", "--width", "64"};
    for (const auto& list : {model(file), more}) all.insert(all.end(), list.begin(), list.end());
    return run(all);
  }
  Json parameters(const std::string& png) const { return Json::parse(text_of(png, "diffract")); }

  std::string config_ = test::data("reference/checkpoints/sd15-full-blocks").string();
  std::string file_ = test::data("reference/single/sd15.safetensors").string();
  std::string taesd_ = test::data("reference/checkpoints/taesd").string();
};

TEST_F(SingleFileProgram, IsNamedInThePicture) {
  const auto result = draw({"a dog", "--vae", taesd_}, file_);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json made = parameters("image_0.png");
  EXPECT_EQ(made["model"], "sd15.safetensors");
  EXPECT_EQ(made["model_hash"].get<std::string>().size(), 16u);
  EXPECT_EQ(made["config"]["name"], "sd15-full-blocks");
  EXPECT_EQ(made["vae"]["name"], "taesd");
  EXPECT_EQ(made["vae"]["hash"].get<std::string>().size(), 16u);
  EXPECT_EQ(made.dump().find(fs::path(config_).parent_path().string()), std::string::npos) << made;
}

// Another file, another VAE: what is there is not what was asked for.
TEST_F(SingleFileProgram, IsResumedWithTheSameFilesOnly) {
  fs::copy(file_, folder_ / "m.safetensors");
  const auto were_there = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--prompt", "a dog", "--prompt", "a cat", "--resume"});
    const auto result = draw(more, "m.safetensors");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err.find("2 pictures are there already") != std::string::npos;
  };
  EXPECT_FALSE(were_there({}));
  EXPECT_TRUE(were_there({}));
  EXPECT_FALSE(were_there({"--vae", taesd_}));
  EXPECT_TRUE(were_there({"--vae", taesd_}));
  std::string bytes = load_text(file_, 1 << 20);
  bytes[bytes.size() - 2] ^= 1;
  folder_.file("m.safetensors", bytes);
  EXPECT_FALSE(were_there({"--vae", taesd_}));
}

TEST_F(SingleFileProgram, IsDescribed) {
  const auto result = run({"info", test::data("reference/single/sd2.safetensors").string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json info = Json::parse(result.out), &checkpoint = info["checkpoint"];
  EXPECT_EQ(checkpoint["kind"], "Stable Diffusion 2.x");
  EXPECT_EQ(checkpoint["config"], "stabilityai/stable-diffusion-2-1");
  EXPECT_EQ(info["metadata"]["modelspec.title"], "sd2_single_file");
  EXPECT_EQ(checkpoint["left_out"], 2);
  EXPECT_GT(checkpoint["components"]["unet"]["parameters"], checkpoint["components"]["vae"]["parameters"]);
  const auto text = run({"info", file_});
  for (const char* part :
       {"Stable Diffusion 1.x, a single file", "unet", "vae", "text_encoder", "M parameters"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << text.out;
  folder_.file("old.ckpt", "x");
  const auto pickle = run({"info", "old.ckpt"});
  EXPECT_EQ(pickle.exit_code, 3);
  EXPECT_NE(pickle.err.find("pickle"), std::string::npos) << pickle.err;
}

TEST_F(SingleFileProgram, IsPlannedAsItsFolder) {
  const auto plan = [&](std::vector<std::string> model) {
    model.insert(model.begin(), "plan");
    for (const char* more : {"--dtype=float16", "--device-map=auto", "--max-memory=0=12MB,cpu=2GB",
                             "--gflops=100", "--host-gbps=10", "--disk-gbps=1", "--json"})
      model.emplace_back(more);
    const auto result = run(model);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? Json::parse(result.out) : Json();
  };
  const Json of_file = plan(model(file_)), of_folder = plan({"--model", config_});
  EXPECT_FALSE(of_file["device_map"].empty());
  EXPECT_EQ(of_file["device_map"], of_folder["device_map"]);
  EXPECT_EQ(of_file["memory"], of_folder["memory"]);
  EXPECT_NE(plan({"--model", config_, "--vae", taesd_})["memory"], of_folder["memory"]);
}

// Wherever the parts of the file are kept.
TEST_F(SingleFileProgram, GivesTheSamePictureWithADeviceMap) {
  const auto pixels = [&](std::vector<std::string> more) {
    more.insert(more.begin(), "a dog");
    const auto result = draw(more, file_);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return io::load_png(folder_ / "image_0.png").image.pixels;
  };
  const auto whole = pixels({});
  EXPECT_EQ(pixels({"--device-map", "auto", "--max-memory", "cpu=1GB"}), whole);
  const auto map = folder_.file("map.json", R"({"unet": "disk", "vae": "cpu", "text_encoder": "disk"})");
  EXPECT_EQ(pixels({"--device-map", map.string()}), whole);
}

TEST_F(SingleFileProgram, SaysWhereItsConfigsAreLookedFor) {
  const test::Variable cache("HF_HUB_CACHE", (folder_ / "cache").string());
  const test::ProgramResult result = run({"generate", "a dog", "--model", file_});
  EXPECT_EQ(result.exit_code, 3);
  for (const char* part : {"a file of Stable Diffusion 1.x", "--config FOLDER", "hf download"})
    EXPECT_NE(result.err.find(part), std::string::npos) << part << ": " << result.err;
}

}  // namespace
}  // namespace diffract
