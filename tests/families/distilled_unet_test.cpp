#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/json.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

// A UNet that was distilled with guidance takes the scale itself, in one pass. One that makes nothing of it
// is the same UNet without guidance.
class DistilledUNet : public ::testing::Test {
 protected:
  DiffusionPipeline load(double of_guidance) const {
    namespace fs = std::filesystem;
    const fs::path folder = folder_ / "model", unet = folder / "unet/diffusion_pytorch_model.safetensors";
    fs::remove_all(folder);
    fs::copy(test::data("reference/checkpoints/sd15"), folder, fs::copy_options::recursive);
    Json config = load_json(folder / "unet/config.json");
    config["time_cond_proj_dim"] = 8;
    folder_.file("model/unet/config.json", json_text(config));
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    const auto file = io::SafetensorsFile::open(unet);
    const auto checkpoint = weights::Checkpoint::open({.files = {unet}, .description = "unet"});
    for (const auto& info : file->tensors()) {
      const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
      tensors.emplace_back(info.name, checkpoint->tensor(info.name, shape).clone());
    }
    tensors.emplace_back("time_embedding.cond_proj.weight",
                         at::full({config["block_out_channels"][0].get<int64_t>(), 8}, of_guidance));
    fs::remove(unet);
    weights::save_tensors(unet, tensors);
    return DiffusionPipeline::from_pretrained(folder.string(), {});
  }
  static std::vector<uint8_t> pixels(const DiffusionPipeline& pipeline, double scale) {
    const pipelines::Request request{
        .prompt = {"a dog"}, .num_inference_steps = 2, .guidance_scale = scale, .height = 64, .width = 64};
    return pipeline(request).images[0].pixels;
  }
  test::TempFolder folder_;
};

TEST_F(DistilledUNet, TakesTheGuidanceItself) {
  const auto plain =
      DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/sd15").string(), {});
  const auto unguided = pixels(plain, 1);
  EXPECT_EQ(pixels(load(0), 7.5), unguided);
  const auto pipeline = load(0.5);
  EXPECT_NE(pixels(pipeline, 7.5), unguided);
  EXPECT_NE(pixels(pipeline, 7.5), pixels(pipeline, 2));
}

}  // namespace
}  // namespace diffract::families
