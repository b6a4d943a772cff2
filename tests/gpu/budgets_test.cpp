// A plan within a GPU's budget holds when it runs: what libraries take beside a model's tensors is counted.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/loading/device_budgets.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/weights/save_tensors.h"
#include "diffract/weights/tensor_source.h"
#include "tests/gpu/gpu.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

// A FLUX whose blocks are as wide as FLUX.1's, of which there are few; all of its weights are zero.
void make_wide_flux(const fs::path& folder) {
  fs::copy(test::data("reference/checkpoints/flux-dev"), folder, fs::copy_options::recursive);
  const fs::path file = folder / "transformer/config.json";
  Json config = load_json(file);
  config.update({{"num_attention_heads", 24},
                 {"attention_head_dim", 128},
                 {"axes_dims_rope", {16, 56, 56}},
                 {"num_layers", 0},
                 {"num_single_layers", 6}});
  std::ofstream(file) << config.dump();
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const auto source = weights::meta_source([&](const std::string& name, at::IntArrayRef shape) {
    tensors.emplace_back(name, at::zeros(shape, at::kBFloat16));
  });
  using models::FluxTransformer2DModel;
  FluxTransformer2DModel(FluxTransformer2DModel::Config::from_json(ConfigReader(config, "config")),
                         weights::WeightScope(source, {}));
  for (const auto& item : fs::directory_iterator(folder / "transformer"))
    if (item.path().filename() != "config.json") fs::remove(item.path());
  weights::save_tensors(folder / "transformer/diffusion_pytorch_model.safetensors", tensors);
}

class GpuBudgets : public test::Gpu {};

TEST_F(GpuBudgets, HoldWhereBlocksComeFromDisk) {
  const test::TempFolder folder;
  make_wide_flux(folder / "flux");
  for (const int64_t megabytes : {1300, 1600, 2000}) {
    const int64_t budget = megabytes * 1'000'000;
    loading::LoadOptions options{.torch_dtype = at::kBFloat16};
    options.device_map = "auto";
    options.max_memory.set(placement::Place(0), budget);
    options.expected = {.height = 512, .width = 512, .num_inference_steps = 2};
    loading::reset_peaks();
    const auto pipeline = families::DiffusionPipeline::from_pretrained((folder / "flux").string(), options);
    EXPECT_NO_THROW(pipeline({.prompt = {"a dog"}, .num_inference_steps = 2, .height = 512, .width = 512}))
        << megabytes;
    for (const auto& memory : loading::memory_peaks())
      if (memory.device != "cpu") {
        EXPECT_LE(memory.peak_bytes, static_cast<uint64_t>(budget)) << memory.device;
        EXPECT_GT(memory.peak_bytes, static_cast<uint64_t>(budget) / 2) << "little of the budget is used";
      }
  }
}

}  // namespace
}  // namespace diffract
