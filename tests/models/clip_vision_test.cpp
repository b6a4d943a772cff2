// CLIP's picture encoder and the safety checker against transformers and diffusers
// (tools/make_vision_cases.py).
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/models/vision/safety_checker.h"
#include "diffract/weights/checkpoint.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::models {
namespace {

using test::relative_error;

constexpr double kTolerance = 1e-5;  // another order of summation

WeightScope weights_of(const std::filesystem::path& file) {
  return {weights::Checkpoint::open({.files = {file}, .description = file.string()}),
          {.arithmetic = at::kFloat}};
}

ConfigReader config_of(const std::filesystem::path& file) { return {load_json(file), file.string()}; }

CLIPVisionModelWithProjection load_model() {
  return {CLIPVisionConfig::from_json(config_of(test::data("models/clip_vision.json"))),
          weights_of(test::data("models/clip_vision.safetensors")) / "weights"};
}

TEST(CLIPVisionModel, GivesTransformersEmbeddingsAndStates) {
  const c10::InferenceMode no_autograd;
  const auto expected = io::SafetensorsFile::open(test::data("models/clip_vision.safetensors"));
  const auto model = load_model();
  const auto pixels = test::load_tensor(*expected, "pixels");
  EXPECT_LT(relative_error(model.image_embeds(pixels), test::load_tensor(*expected, "image_embeds")),
            kTolerance);
  EXPECT_LT(relative_error(model.hidden_state(pixels), test::load_tensor(*expected, "hidden_state")),
            kTolerance);
}

TEST(CLIPVisionModel, RefusesPicturesOfAnotherSize) {
  const c10::InferenceMode no_autograd;
  const auto model = load_model();
  const std::vector<std::vector<int64_t>> shapes = {
      {1, 3, 28, 36}, {1, 1, 28, 28}, {3, 28, 28}, {0, 3, 28, 28}};
  for (const auto& shape : shapes)
    EXPECT_NE(test::error_of<UsageError>([&] {
                model.image_embeds(at::zeros(shape));
              }).find("expected [batch, 3, 28, 28]"),
              std::string::npos);
}

TEST(CLIPVisionConfig, IsReadFromAWholeModelsFileAndChecked) {
  Json config = load_json(test::data("models/clip_vision.json"));
  const auto read = [](const Json& json) { return CLIPVisionConfig::from_json({json, "x"}); };
  const Json whole = {
      {"model_type", "clip"}, {"text_config", {{"hidden_size", 8}}}, {"vision_config", config}};
  EXPECT_EQ(read(whole).hidden_size, 32);
  EXPECT_EQ(read(whole).tokens(), 10);  // 28 / 8 patches each way, what is over is not looked at
  EXPECT_THROW(read({{"vocab_size", 5}}), CheckpointError);
  for (const auto& [key, value] : {std::pair<const char*, Json>{"num_attention_heads", 5},
                                   {"patch_size", 29},
                                   {"image_size", 0},
                                   {"num_channels", 1},
                                   {"hidden_act", "tanh?"}}) {
    Json damaged = config;
    damaged[key] = value;
    EXPECT_NE(test::error_of<CheckpointError>([&] { read(damaged); }).find(key), std::string::npos);
  }
}

// Saved by transformers 4, whose names have one more "vision_model".
TEST(SafetyChecker, ReadsPublishedCheckpoints) {
  const c10::InferenceMode no_autograd;
  const auto folder = test::data("reference/parts/safety_checker");
  const StableDiffusionSafetyChecker checker(
      SafetyCheckerConfig::from_json(config_of(folder / "config.json")),
      weights_of(folder / "model.safetensors"));
  at::manual_seed(1);
  const auto pixels = at::randn({3, 3, 28, 28});
  EXPECT_EQ(checker.scores(pixels).concepts.sizes(), at::IntArrayRef({3, 17}));
  EXPECT_EQ(checker.has_nsfw_concepts(pixels).size(), 3u);
  EXPECT_THROW(checker.scores(pixels.slice(2, 0, 20)), UsageError);
}

}  // namespace
}  // namespace diffract::models
