// What a user may give as a model, and what is said where it is none.
#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/families/registry.h"
#include "diffract/loading/find_model.h"
#include "diffract/pipelines/pipeline.h"
#include "tests/support/temp_folder.h"

namespace diffract::loading {
namespace {

using test::error_of;

// With a Hugging Face cache of its own.
class FindModel : public ::testing::Test {
 protected:
  FindModel() { ::setenv("HF_HUB_CACHE", (folder_ / "cache").c_str(), 1); }
  ~FindModel() override { ::unsetenv("HF_HUB_CACHE"); }

  static std::string refused(const std::string& model) {
    return error_of<CheckpointError>([&] { find_pipeline(model, families::require_family); });
  }
  static void expect(const std::string& message, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  }
  // A repository with one snapshot of these files.
  void cached(const std::string& repository,
              const std::vector<std::pair<std::string, std::string>>& files) const {
    const std::string folder = "cache/models--" + repository;
    folder_.file(folder + "/refs/main", "c0ffee");
    for (const auto& [name, text] : files) folder_.file(folder + "/snapshots/c0ffee/" + name, text);
  }
  test::TempFolder folder_;
};

TEST_F(FindModel, SaysWhatAFileIs) {
  for (const char* name : {"v1-5.safetensors", "X.SAFETENSORS"})
    expect(refused(folder_.file(name, "x").string()), {name, "a file of weights", "folder"});
  for (const char* name : {"old.ckpt", "x.pt"})
    expect(refused(folder_.file(name, "x").string()), {name, "pickle", "can run code", "save_file"});
  expect(refused(folder_.file("m.gguf", "x").string()), {"GGUF"});
  expect(refused(folder_.file("m/model_index.json", "{}").string()), {"--model " + (folder_ / "m").string()});
  expect(refused(folder_.file("notes.txt", "x").string()), {"is a file", "folder"});
  for (const char* absent : {"absent.safetensors", "sub/absent.ckpt"})
    expect(refused(absent), {"no such file"});
}

TEST_F(FindModel, FindsTheNameInAWebAddress) {
  for (const char* address :
       {"https://huggingface.co/org/name", "http://huggingface.co/org/name/", "hf.co/org/name",
        "https://huggingface.co/org/name/tree/main", "https://www.huggingface.co/org/name?x=y",
        "https://huggingface.co/org/name/resolve/main/unet/x.safetensors"})
    expect(refused(address), {"--model org/name. ", "hf download org/name --revision main"});
  expect(refused("https://huggingface.co/org/name/tree/fp16"),
         {"--model org/name@fp16", "hf download org/name --revision fp16"});
  for (const char* other : {"https://example.org/org/name", "https://huggingface.co/org", "ftp://x"})
    expect(refused(other), {"web address", "ORG/NAME"});
}

TEST_F(FindModel, SuggestsTheBuiltInNames) {
  for (const char* name : {"Emoji-SD", "emoji_sd", "emoji-s", "EMOJI_SD"})
    expect(refused(name), {"did you mean emoji-sd?", "emoji-flux"});
  const auto nonsense = refused("qwertyuiop");
  expect(nonsense, {"qwertyuiop", "emoji-flux", "emoji-sd", "ORG/NAME"});
  EXPECT_EQ(nonsense.find("did you mean"), std::string::npos) << nonsense;
  expect(refused("SD15"), {"stable-diffusion-v1-5/stable-diffusion-v1-5"});
  expect(refused("sdxl"), {"stabilityai/stable-diffusion-xl-base-1.0"});
  expect(refused("sd3"), {"does not run"});
}

TEST_F(FindModel, SaysThatAFolderIsNotThere) {
  for (const char* path : {"/no/such/folder", "./none", "../none/", "a/b/c", "~/none", "C:\\models\\sd"})
    expect(refused(path), {path, "no such folder"});
}

TEST_F(FindModel, TellsWhatToFetchForWhat) {
  const auto plan = error_of<CheckpointError>([&] { find_model("org/name", ModelUse::configs); });
  expect(plan, {"hf download org/name", "--include \"*.json\""});
  const auto pictures = refused("org/name");
  expect(pictures, {"hf download org/name model_index.json", (folder_ / "cache").string()});
  const auto known = refused("black-forest-labs/FLUX.1-dev");
  expect(known, {"hf download black-forest-labs/FLUX.1-dev"});
  EXPECT_EQ(known.find("model_index.json"), std::string::npos) << known;
}

TEST_F(FindModel, RefusesAWellKnownModelBeforeItIsDownloaded) {
  for (const char* name : {"stabilityai/stable-cascade", "Qwen/Qwen-Image@main",
                           "stabilityai/stable-diffusion-3.5-large", "PixArt-alpha/PixArt-XL-2-1024-MS"}) {
    const auto message = refused(name);
    expect(message, {"does not run yet", "Pipeline"});
    EXPECT_EQ(message.find("hf download"), std::string::npos) << message;
  }
}

// After the first look.
TEST_F(FindModel, RefusesAClassBeforeItAsksForTheRest) {
  cached("org--xl", {{"model_index.json",
                      R"({"_class_name": "StableCascadeDecoderPipeline", "unet": ["diffusers", "U"]})"}});
  const auto message = refused("org/xl");
  expect(message, {"StableCascadeDecoderPipeline", "model_index.json", "does not run yet"});
  EXPECT_EQ(message.find("hf download"), std::string::npos) << message;
  cached("org--sd",
         {{"model_index.json", R"({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "U"]})"}});
  expect(refused("org/sd"), {"unet/config.json", "hf download org/sd"});
  cached("org--sd", {{"unet/config.json", "{}"}});
  EXPECT_EQ(find_model("org/sd", ModelUse::configs).filename(), "c0ffee");
}

TEST(FindFamily, IsTheTextToImagePipelineOverTheSameParts) {
  const auto runs_as = [](const char* name) -> std::string_view {
    const auto* family = families::find_family(name);
    return family ? family->facts->class_name : "";
  };
  for (const char* name :
       {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"})
    EXPECT_EQ(runs_as(name), "StableDiffusionPipeline") << name;
  for (const char* name : {"FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"})
    EXPECT_EQ(runs_as(name), "FluxPipeline") << name;
  for (const char* name : {"StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"})
    EXPECT_EQ(runs_as(name), "StableDiffusionXLPipeline") << name;
  for (const char* name :
       {"StableCascadeDecoderPipeline", "FluxFillPipeline", "FluxKontextPipeline", "flux", ""})
    EXPECT_EQ(runs_as(name), "") << name;
}

}  // namespace
}  // namespace diffract::loading
