// Texts that were encoded before, and that nobody sees in a picture whether they were.
#include "diffract/pipelines/text_cache.h"

#include <gtest/gtest.h>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/stable_diffusion/stable_diffusion.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using pipelines::TextCache;

class TextCacheTest : public ::testing::Test {
 protected:
  // Whether it was encoded.
  bool encodes(TextCache& cache, const TextCache::Key& key, int64_t floats = 256) {
    bool encoded = false;
    const auto made = cache.get(key, [&]() -> TextCache::Made {
      encoded = true;
      return {at::full({floats}, ++count_, at::kFloat)};
    });
    EXPECT_EQ(made.size(), 1u);
    EXPECT_EQ(made[0].numel(), floats);
    if (encoded) values_[key] = count_;
    EXPECT_EQ(made[0][0].item<float>(), values_[key]);
    return encoded;
  }
  float count_ = 0;
  std::map<TextCache::Key, float> values_;
};

TEST_F(TextCacheTest, TellsTextsApartByAllThatTheyDependOn) {
  TextCache cache;
  const TextCache::Key keys[] = {{.encoder = "text_encoder", .texts = {"a dog"}},
                                 {.encoder = "text_encoder", .texts = {""}},
                                 {.encoder = "text_encoder", .texts = {"a dog", ""}},
                                 {.encoder = "text_encoder", .texts = {"", "a dog"}},
                                 {.encoder = "text_encoder", .texts = {"a dog"}, .clip_skip = 1},
                                 {.encoder = "text_encoder_2", .texts = {"a dog"}},
                                 {.encoder = "text_encoder_2", .texts = {"a dog"}, .max_sequence_length = 8}};
  for (const auto& key : keys) EXPECT_TRUE(encodes(cache, key));
  for (const auto& key : keys) EXPECT_FALSE(encodes(cache, key));
}

TEST_F(TextCacheTest, TakesNoMoreMemoryThanItMay) {
  TextCache cache(4096);
  const auto key = [](int i) { return TextCache::Key{.encoder = "e", .texts = {std::to_string(i)}}; };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(encodes(cache, key(i)));
  EXPECT_EQ(cache.bytes(), 3 * (1024 + 1));
  EXPECT_FALSE(encodes(cache, key(0)));  // so that 1 is the one that was not used for longest
  EXPECT_TRUE(encodes(cache, key(3)));
  EXPECT_FALSE(encodes(cache, key(0)));
  EXPECT_TRUE(encodes(cache, key(1)));
  EXPECT_TRUE(encodes(cache, key(4), 2048));  // larger than all: nothing goes for it
  EXPECT_TRUE(encodes(cache, key(4), 2048));
  EXPECT_FALSE(encodes(cache, key(1)));
  EXPECT_LE(cache.bytes(), 4096);
}

TEST_F(TextCacheTest, KeepsNothingWhereItMayNot) {
  TextCache cache(0);
  const TextCache::Key key{.encoder = "e", .texts = {"a dog"}};
  EXPECT_TRUE(encodes(cache, key));
  EXPECT_TRUE(encodes(cache, key));
  EXPECT_EQ(cache.bytes(), 0);
}

class TextsOfAJob : public ::testing::TestWithParam<const char*> {
 protected:
  static DiffusionPipeline load() {
    return DiffusionPipeline::from_pretrained(test::data("reference/checkpoints").string() + "/" +
                                              GetParam());
  }
  static pipelines::Request request(std::vector<std::string> prompts) {
    pipelines::Request r{.prompt = std::move(prompts), .num_inference_steps = 2, .height = 64, .width = 64};
    r.negative_prompt = {"blurry"};
    if (std::string(GetParam()).starts_with("flux")) r.true_cfg_scale = 2;
    return r;
  }
};

TEST_P(TextsOfAJob, DoNotChangeItsPictures) {
  const auto job = load();
  const std::vector<std::vector<std::string>> batches = {{"a dog"}, {"a dog", "a cat"}, {"a cat"},
                                                         {"a dog"}, {"a cat", "a dog"}, {"a dog", "a cat"}};
  for (const auto& batch : batches) {
    const auto together = job(request(batch)), alone = load()(request(batch));
    EXPECT_TRUE(at::equal(together.latents, alone.latents)) << batch.front() << " of " << batch.size();
    for (size_t i = 0; i < batch.size(); ++i) EXPECT_EQ(together.images[i].pixels, alone.images[i].pixels);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TextsOfAJob, ::testing::Values("sd15", "flux-dev"), [](const auto& tested) {
  return std::string(tested.param, 4) == "flux" ? "flux" : "sd";
});

TEST(TextsOfStableDiffusion, AreKept) {
  const auto pipeline = StableDiffusionPipeline::from_folder(
      io::ModelFolder::open(test::data("reference/checkpoints/sd15")), {});
  const pipelines::Request request{.prompt = {"a dog"}, .num_inference_steps = 2, .height = 64, .width = 64};
  (*pipeline)(request);
  const int64_t bytes = pipeline->core().texts->bytes();
  EXPECT_GT(bytes, 0);
  (*pipeline)(request);
  EXPECT_EQ(pipeline->core().texts->bytes(), bytes);
}

}  // namespace
}  // namespace diffract::families
