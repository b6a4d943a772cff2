// IP-Adapters that do not fit the model, the picture encoder or the request.
#include "diffract/loading/ip_adapter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/load_fields.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::loading {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

std::string adapter(const std::string& name) {
  return test::data("reference/ip_adapters/" + name + ".safetensors").string();
}
std::string checkpoint(const std::string& name) {
  return test::data("reference/checkpoints/" + name).string();
}

class IpAdapterTest : public ::testing::Test {
 protected:
  static LoadOptions options(const std::string& path,
                             const std::string& encoder = checkpoint("ip-image-encoder")) {
    return {.ip_adapter = {{.path = path, .image_encoder = encoder}}};
  }
  template <typename E = CheckpointError>
  static std::string refused(const LoadOptions& options, const std::string& model = "sd15") {
    return error_of<E>([&] { families::DiffusionPipeline::from_pretrained(checkpoint(model), options); });
  }
  static void expect(const std::string& message, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  }
  // sd15's adapter with some tensors in place of its own; one that is undefined is left out.
  std::string changed(const std::string& from, const Tensors& changes) const {
    const auto file = io::SafetensorsFile::open(adapter(from));
    const auto stored = weights::Checkpoint::open({.files = {file->path()}, .description = "x"});
    std::map<std::string, at::Tensor> all;
    for (const auto& info : file->tensors()) {
      const std::vector<int64_t> shape(info.shape.begin(), info.shape.end());
      all[info.name] = stored->tensor(info.name, shape).clone();
    }
    for (const auto& [name, tensor] : changes) {
      all.erase(name);
      if (tensor.defined()) all[name] = tensor;
    }
    weights::save_tensors(folder_ / "changed.safetensors", {all.begin(), all.end()});
    return folder_ / "changed.safetensors";
  }
  test::TempFolder folder_;
};

TEST_F(IpAdapterTest, OfAnotherBaseModelNamesTheFirstTensorThatDoesNotFit) {
  expect(refused(options(adapter("sdxl"))),
         {"sdxl.safetensors", "\"ip_adapter.1.to_k_ip.weight\"", "has shape", "another base model"});
  expect(refused(options(adapter("sdxl_plus"))), {"\"ip_adapter.1.to_k_ip.weight\"", "another base model"});
  expect(refused(options(adapter("sd15")), "sdxl"),
         {"\"ip_adapter.1.to_k_ip.weight\"", "another base model"});
  expect(refused(options(changed("sd15", {{"ip_adapter.3.to_v_ip.weight", {}}}))),
         {"\"ip_adapter.3.to_v_ip.weight\" is missing", "another base model"});
  expect(refused(options(changed("sd15", {{"ip_adapter.99.to_k_ip.weight", at::ones({16, 32})},
                                          {"image_proj.norm.bias", at::ones({31})}}))),
         {"\"image_proj.norm.bias\" has shape [31]", "[32]"});
  expect(refused(options(changed("sd15_plus", {{"image_proj.layers.2.1.3.weight", at::ones({16, 60})}}))),
         {"\"image_proj.layers.2.1.3.weight\" has shape [16, 60]", "[16, 64]"});
}

TEST_F(IpAdapterTest, OfMoreAttentionsIsAnotherBaseModels) {
  size_t last = 1;
  const auto file = io::SafetensorsFile::open(adapter("sd15"));
  while (file->find(fmt::format("ip_adapter.{}.to_k_ip.weight", last))) last += 2;
  const std::string next = fmt::format("ip_adapter.{}.to_k_ip.weight", last);
  expect(refused(options(changed("sd15", {{next, at::ones({16, 32})}}))), {next, "another base model"});
}

TEST_F(IpAdapterTest, OtherFilesAreRefusedByName) {
  expect(refused(options(test::data("reference/loras/sd15_peft.safetensors").string())),
         {"image_proj.latents", "missing", "Is it an IP-Adapter?"});
  const auto form = [&](const char* name) {
    return refused(options(changed("sd15", {{"image_proj.proj.weight", {}}, {name, at::ones({4, 4})}})));
  };
  expect(form("image_proj.proj.0.weight"), {"IP-Adapter FaceID", "does not run yet"});
  expect(form("image_proj.proj.3.weight"), {"IP-Adapter Full Face"});
  expect(form("image_proj.perceiver_resampler.proj_in.weight"), {"IP-Adapter FaceID Plus"});
  expect(refused(options(changed("sd15", {{"image_proj.proj.weight", at::ones({128})}}))),
         {"image_proj.proj.weight", "[128]", "2 dimensions"});
  expect(refused(options(changed("sd15", {{"image_proj.proj.weight", at::ones({0, 24})}}))), {"[0, 24]"});
  expect(refused(options(changed("sd15_plus", {{"image_proj.layers.0.0.to_q.weight", at::ones({60, 16})}}))),
         {"inner_dim", "60", "64"});
  expect(refused<UsageError>(options(adapter("sd15")), "flux-dev"), {"ip_adapter", "FluxPipeline"});
  expect(refused<UsageError>(options(folder_ / "none.safetensors")), {"--ip-adapter", "none.safetensors"});
}

TEST_F(IpAdapterTest, NeedsThePictureEncoderThatItWasTrainedWith) {
  expect(refused<UsageError>(options(adapter("sd15"), "")),
         {"image_encoder", "width 24", "--ip-adapter-image-encoder DIR"});
  expect(refused<UsageError>(options(adapter("sd15"), folder_ / "none")),
         {"--ip-adapter-image-encoder", "none"});
  expect(refused(options(adapter("sd15"), folder_.path().string())), {"config.json"});
  expect(refused(options(adapter("sd15"), checkpoint("sd15/text_encoder"))),
         {"image_encoder", "CLIPVisionModelWithProjection"});
  fs::copy(checkpoint("ip-image-encoder"), folder_ / "encoder");
  Json config = load_json(folder_ / "encoder/config.json");
  config["projection_dim"] = 20;
  fs::permissions(folder_ / "encoder/config.json", fs::perms::owner_write, fs::perm_options::add);
  folder_.file("encoder/config.json", config.dump());
  expect(refused(options(adapter("sd15"), folder_ / "encoder")),
         {"projection_dim", "20", "24", "--ip-adapter-image-encoder"});
  LoadOptions two = options(adapter("sd15"));
  two.ip_adapter.push_back({.path = adapter("sd15_plus"), .image_encoder = folder_ / "encoder"});
  expect(refused<UsageError>(two), {"image_encoder", "one for all"});
}

TEST_F(IpAdapterTest, TakesThePictureEncoderBesideItsFile) {
  fs::copy(adapter("sd15"), folder_ / "adapter.safetensors");
  fs::copy(checkpoint("ip-image-encoder"), folder_ / "image_encoder");
  EXPECT_EQ(refused(options(folder_ / "adapter.safetensors", "")), "<no error>");
}

TEST_F(IpAdapterTest, IsPartOfWhatAPictureDependsOn) {
  const LoadTexts given = {{"ip_adapter", adapter("sd15") + "\n" + adapter("sd15_plus") + "\n"},
                           {"ip_adapter_image_encoder", checkpoint("ip-image-encoder")}};
  const Json said = load_parameters(given, LoadField::Scope::images);
  EXPECT_EQ(said["ip_adapter"][0]["name"], "sd15.safetensors");
  EXPECT_NE(said["ip_adapter"][0]["hash"], said["ip_adapter"][1]["hash"]);
  EXPECT_EQ(said["ip_adapter_image_encoder"]["name"], "ip-image-encoder");
  EXPECT_EQ(said["ip_adapter_image_encoder"]["hash"].get<std::string>().size(), 16u);
  EXPECT_EQ(said.dump().find(test::data("").string()), std::string::npos);
}

// One that is found beside the adapter's file too, which no option names.
TEST_F(IpAdapterTest, ItsPictureEncoderIsPartOfItAsWell) {
  namespace fs = std::filesystem;
  const test::TempFolder folder;
  fs::copy_file(adapter("sd15"), folder / "sd15.safetensors");
  const auto said = [&](const LoadTexts& given) { return load_parameters(given, LoadField::Scope::images); };
  const auto beside = [&] { return said({{"ip_adapter", (folder / "sd15.safetensors").string() + "\n"}}); };
  const Json without = beside();
  fs::copy(checkpoint("ip-image-encoder"), folder / "image_encoder");
  const Json before = beside();
  const LoadTexts named = {{"ip_adapter", adapter("sd15") + "\n"},
                           {"ip_adapter_image_encoder", (folder / "image_encoder").string()}};
  const Json named_before = said(named);
  fs::permissions(folder / "image_encoder/config.json", fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(folder / "image_encoder/config.json", std::ios::app) << "\n";
  EXPECT_NE(before, without);
  EXPECT_NE(beside(), before);
  EXPECT_NE(said(named), named_before);
}

TEST_F(IpAdapterTest, IsDescribed) {
  const Json basic = *describe_ip_adapter(adapter("sd15")), plus = *describe_ip_adapter(adapter("sdxl_plus"));
  EXPECT_EQ(basic["form"], "basic");
  EXPECT_EQ(basic["image_embed_dim"], 24);
  EXPECT_EQ(plus["form"], "plus");
  EXPECT_EQ(plus["tokens"], 3);
  EXPECT_FALSE(describe_ip_adapter(test::data("reference/loras/sd15_peft.safetensors")));
}

TEST_F(IpAdapterTest, GoesWithRequestsThatHaveItsPictures) {
  const test::ReferenceCase two("sd15_ip_adapter_two");
  const auto pipeline = two.load();
  const auto said = [&](const auto& pipe, const std::function<void(pipelines::Request&)>& change) {
    pipelines::Request request = two.request();
    change(request);
    return error_of<UsageError>([&] { pipe(request); });
  };
  expect(said(pipeline, [](auto& r) { r.ip_adapter_image.clear(); }), {"--ip-adapter-image", "leave"});
  expect(said(pipeline, [](auto& r) { r.ip_adapter_image.pop_back(); }), {"1 pictures for 2 IP-Adapters"});
  expect(said(pipeline, [](auto& r) { r.ip_adapter_scale = {1, 2, 3}; }), {"3 numbers for 2"});
  expect(said(pipeline, [](auto& r) { r.ip_adapter_scale = {101}; }), {"ip_adapter_scale", "101"});
  const auto plain = families::DiffusionPipeline::from_pretrained(checkpoint("sd15"));
  expect(said(plain, [](auto&) {}), {"without an IP-Adapter", "--ip-adapter FILE"});
  const auto flux = families::DiffusionPipeline::from_pretrained(checkpoint("flux-dev"));
  expect(said(flux, [](auto&) {}), {"ip_adapter_image", "FluxPipeline"});
}

// What a recorded step has fixed must not be a picture's own: its scale, for one.
TEST_F(IpAdapterTest, CountsAsMuchAsTheRequestSays) {
  const test::ReferenceCase reference("sd15_ip_adapter_img2img");
  const auto pipeline = reference.load();
  pipelines::Request request = reference.request();
  request.output_type = pipelines::OutputType::latent;
  const auto latents = [&](const std::vector<double>& scales) {
    request.ip_adapter_scale = scales;
    return pipeline(request).latents;
  };
  const at::Tensor whole = latents({1.0}), none = latents({0.0});
  EXPECT_TRUE(at::equal(latents({}), whole));
  EXPECT_GT(test::relative_error(none, whole), 1e-3);
  pipelines::Request plain = request;
  plain.ip_adapter_image.clear();
  plain.ip_adapter_scale.clear();
  const auto without = families::DiffusionPipeline::from_pretrained(checkpoint("sd15"));
  EXPECT_LT(test::relative_error(none, without(plain).latents), 1e-6);
}

}  // namespace
}  // namespace diffract::loading
