// Checkpoints as they lie in the field: of the same content in another form, each gives the same picture.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/registry.h"
#include "diffract/io/safetensors.h"
#include "diffract/loading/auto_model.h"
#include "diffract/loading/pipeline_layout.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

namespace fs = std::filesystem;
using test::error_of;

class CheckpointKinds : public ::testing::Test {
 protected:
  // A copy of a small checkpoint.
  std::string copy(const std::string& checkpoint = "sd15", const std::string& name = "model") const {
    fs::remove_all(folder_ / name);
    fs::copy(test::data("reference/checkpoints/" + checkpoint), folder_ / name, fs::copy_options::recursive);
    return (folder_ / name).string();
  }
  void edit(const std::string& file, const Json& keys) const {
    Json json = load_json(folder_ / file);
    json.update(keys);
    folder_.file(file, json_text(json));
  }
  static at::ScalarType dtype_of(io::Dtype dtype) {
    return dtype == io::Dtype::I64    ? at::kLong
           : dtype == io::Dtype::F16  ? at::kHalf
           : dtype == io::Dtype::BF16 ? at::kBFloat16
                                      : at::kFloat;
  }
  static std::vector<std::pair<std::string, at::Tensor>> tensors(const fs::path& path) {
    std::vector<std::pair<std::string, at::Tensor>> found;
    const auto file = io::SafetensorsFile::open(path);
    for (const auto& info : file->tensors()) {
      const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
      at::Tensor tensor = at::empty(shape, dtype_of(info.dtype));
      const auto bytes = file->bytes(info);
      std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(tensor.data_ptr()));
      found.emplace_back(info.name, tensor);
    }
    return found;
  }
  // Stores a file's weights anew.
  void store(const std::string& file, const std::function<at::Tensor(const at::Tensor&)>& change) const {
    auto all = tensors(folder_ / file);
    for (auto& [name, tensor] : all)
      if (tensor.is_floating_point()) tensor = change(tensor);
    weights::save_tensors(folder_ / file, all);
  }
  static pipelines::Request request(const std::string& prompt = "a cat") {
    return {.prompt = {prompt},
            .num_inference_steps = 2,
            .height = 64,
            .width = 64,
            .output_type = pipelines::OutputType::latent};
  }
  static at::Tensor draw(const std::string& model, const loading::LoadOptions& options = {}) {
    pipelines::Request r = request();
    if (model.find("flux") != std::string::npos) r.max_sequence_length = 16;
    return DiffusionPipeline::from_pretrained(model, options)(r).latents;
  }
  // Sums come out in another order where memory lies differently.
  static bool is_same(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-4, 1e-4); }
  // What is said on stderr while `call` runs.
  template <typename Call>
  static std::string said(Call&& call) {
    ::testing::internal::CaptureStderr();
    call();
    return ::testing::internal::GetCapturedStderr();
  }
  test::TempFolder folder_;
};

TEST_F(CheckpointKinds, SavedFromAPipelineForAnotherTask) {
  const at::Tensor expected = draw(copy());
  for (const char* name : {"StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"}) {
    edit("model/model_index.json", {{"_class_name", name}});
    EXPECT_TRUE(is_same(draw((folder_ / "model").string()), expected)) << name;
  }
  const std::string flux = copy("flux-dev", "flux");
  const at::Tensor of_flux = draw(flux);
  edit("flux/model_index.json", {{"_class_name", "FluxImg2ImgPipeline"}});
  EXPECT_TRUE(is_same(draw(flux), of_flux));
}

TEST_F(CheckpointKinds, WithTheTextEncodersConfigInsideAnother) {
  const std::string model = copy("flux-dev", "flux");
  const at::Tensor expected = draw(model);
  const Json clip = load_json(folder_ / "flux/text_encoder/config.json"),
             t5 = load_json(folder_ / "flux/text_encoder_2/config.json");
  folder_.file("flux/text_encoder/config.json", json_text({{"architectures", {"CLIPModel"}},
                                                           {"model_type", "clip"},
                                                           {"hidden_size", 3},
                                                           {"text_config", clip}}));
  folder_.file(
      "flux/text_encoder_2/config.json",
      json_text(
          {{"model_type", "whole"}, {"architectures", {"T5ForConditionalGeneration"}}, {"encoder", t5}}));
  EXPECT_TRUE(is_same(draw(model), expected));
  // Also where the class is read from the config itself.
  EXPECT_EQ(families::lay_out_pipeline(io::ModelFolder::open(model), {}).components.size(), 4u);
  EXPECT_EQ(loading::AutoModel::from_pretrained(model, {.subfolder = "text_encoder"}).class_name(),
            "CLIPTextModel");
}

TEST_F(CheckpointKinds, WithAConfigThatIsNoTextModels) {
  copy("flux-dev", "flux");
  const std::string good = load_json(folder_ / "flux/text_encoder/config.json").dump();
  for (const char* config :
       {R"({"model_type": "clip_text_model"})", R"({"text_config": {"projection_dim": 4}})"}) {
    folder_.file("flux/text_encoder/config.json", config);
    const auto message = error_of<CheckpointError>([&] { draw((folder_ / "flux").string()); });
    EXPECT_NE(message.find("text_encoder/config.json"), std::string::npos) << message;
    EXPECT_NE(message.find("none of a text model's keys"), std::string::npos) << message;
  }
  folder_.file("flux/text_encoder/config.json", good);
  folder_.file("flux/text_encoder_2/config.json", R"({"model_type": "t5", "dropout_rate": 0.1})");
  EXPECT_NE(error_of<CheckpointError>([&] {
              draw((folder_ / "flux").string());
            }).find("none of a text model's keys"),
            std::string::npos);
}

// float8 as it is stored, against the same numbers in float32 files: single files and shards, each component,
// whole and block by block.
TEST_F(CheckpointKinds, WithWeightsInFloat8) {
  for (const std::string checkpoint : {"sd15", "flux-dev", "flux-dev-sharded"})
    for (const at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
      const std::string narrow = copy(checkpoint, "flux_narrow"), wide = copy(checkpoint, "flux_wide");
      size_t files = 0;
      for (const auto& entry : fs::recursive_directory_iterator(narrow)) {
        if (entry.path().extension() != ".safetensors") continue;
        const std::string file = fs::relative(entry.path(), narrow).string();
        store("flux_narrow/" + file, [&](const at::Tensor& t) { return t.to(dtype); });
        store("flux_wide/" + file, [&](const at::Tensor& t) { return t.to(dtype).to(at::kFloat); });
        ++files;
      }
      EXPECT_GE(files, 3u);
      const auto run = [&](const std::string& model, loading::LoadOptions options = {}) {
        pipelines::Request r = request();
        if (checkpoint != "sd15") r.max_sequence_length = 16;
        options.offload_folder = (folder_ / "offload").string();
        return DiffusionPipeline::from_pretrained(model, options)(r).latents;
      };
      const at::Tensor expected = run(wide);
      EXPECT_TRUE(is_same(run(narrow), expected)) << checkpoint << " " << dtype;
      loading::LoadOptions on_disk{.device_map = "disk"};
      EXPECT_TRUE(is_same(run(narrow, on_disk), expected)) << checkpoint << " " << dtype;
      // A plan counts a byte for each weight.
      const auto bytes = [](const std::string& model) {
        int64_t sum = 0;
        for (const auto& component : families::lay_out_pipeline(io::ModelFolder::open(model), {}).components)
          sum += *component.options.size.dtype_bytes;
        return sum;
      };
      EXPECT_EQ(4 * bytes(narrow), bytes(wide));
    }
}

TEST_F(CheckpointKinds, WithAQuantizationConfig) {
  const std::string model = copy();
  const at::Tensor expected = draw(model);
  edit("model/unet/config.json",
       {{"quantization_config", {{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}}}});
  at::Tensor found;
  const std::string text = said([&] { found = draw(model); });
  EXPECT_TRUE(is_same(found, expected));
  EXPECT_NE(text.find("bitsandbytes"), std::string::npos) << text;
  store("model/unet/diffusion_pytorch_model.safetensors",
        [](const at::Tensor& t) { return t.to(at::kFloat8_e4m3fn); });
  const auto message = error_of<CheckpointError>([&] { draw(model); });
  for (const char* part : {"unet/config.json", "quantization_config", "bitsandbytes", "F8_E4M3"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST_F(CheckpointKinds, WithATokenMoreThanTheTextEncoderHas) {
  const std::string model = copy();
  const at::Tensor expected = draw(model);
  folder_.file("model/tokenizer/added_tokens.json", R"({"<my-token>": 1214})");
  at::Tensor found;
  const std::string text = said([&] { found = draw(model); });
  EXPECT_TRUE(is_same(found, expected));
  EXPECT_NE(text.find("1215 tokens"), std::string::npos) << text;
  const auto pipeline = DiffusionPipeline::from_pretrained(model, {});
  const auto message = error_of<UsageError>([&] { pipeline(request("a <my-token> cat")); });
  EXPECT_NE(message.find("\"<my-token>\" (id 1214)"), std::string::npos) << message;
  EXPECT_NE(message.find("\"vocab_size\" is 1214"), std::string::npos) << message;
}

TEST_F(CheckpointKinds, WithAStaleFileBesideTheShardsOfALaterSave) {
  const std::string model = copy();
  const at::Tensor stale = draw(model);
  const std::string stem = "model/unet/diffusion_pytorch_model";
  auto all = tensors(folder_ / (stem + ".safetensors"));
  Json map = Json::object();
  std::vector<std::pair<std::string, at::Tensor>> halves[2];
  for (size_t i = 0; i < all.size(); ++i) {
    map[all[i].first] = fmt::format("diffusion_pytorch_model-{}.safetensors", i % 2);
    halves[i % 2].emplace_back(all[i].first, all[i].second * 1.1);
  }
  halves[0].emplace_back(halves[1][0].first, halves[1][0].second + 1);  // of which the index names the other
  for (size_t i = 0; i < 2; ++i)
    weights::save_tensors(folder_ / fmt::format("{}-{}.safetensors", stem, i), halves[i]);
  folder_.file(stem + ".safetensors.index.json", json_text({{"weight_map", map}}));
  const at::Tensor later = draw(model);
  EXPECT_FALSE(at::allclose(later, stale, 1e-3, 1e-3));
  store(stem + ".safetensors", [](const at::Tensor& t) { return t * 1.1; });
  fs::remove(folder_ / (stem + ".safetensors.index.json"));
  EXPECT_TRUE(is_same(draw(model), later));
}

// As diffusers: 72x88 gives a picture of 64x80, with a warning.
TEST(FluxSizes, AreRoundedDown) {
  const auto model = test::data("reference/checkpoints/flux-dev").string();
  const auto pipeline = DiffusionPipeline::from_pretrained(model, {});
  pipelines::Request r{
      .prompt = {"a cat"}, .num_inference_steps = 1, .height = 40, .width = 63, .max_sequence_length = 16};
  ::testing::internal::CaptureStderr();
  const auto rounded = pipeline(r).images[0];
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("height 40"), std::string::npos) << said;
  EXPECT_NE(said.find("width 63"), std::string::npos) << said;
  EXPECT_EQ(pipeline.image_size(r).height, 32);
  EXPECT_EQ(pipeline.image_size(r).width, 48);
  EXPECT_EQ(rounded.height, 32u);
  EXPECT_EQ(rounded.width, 48u);
  r.height = 32, r.width = 48;
  EXPECT_EQ(rounded.pixels, pipeline(r).images[0].pixels);
  for (const int64_t bad : {0, 15, -16, 20000}) {
    r.height = bad;
    EXPECT_NE(error_of<UsageError>([&] { pipeline(r); }).find("height"), std::string::npos) << bad;
  }
  const auto layout = families::lay_out_pipeline(io::ModelFolder::open(model), {.height = 40, .width = 63});
  EXPECT_EQ(layout.height, 32);
  EXPECT_EQ(layout.width, 48);
}

}  // namespace
}  // namespace diffract::families
