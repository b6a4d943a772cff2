// Every Stable Diffusion case of tests/data/reference: what diffusers 0.42.1 computed from tiny random
// checkpoints, embedding by embedding, step by step, pixel by pixel.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "diffract/io/png.h"
#include "diffract/pipelines/stable_diffusion.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

namespace fs = std::filesystem;
using test::ReferenceCase;
using test::relative_error;

// The contract: every step's latents within 1e-4 of the largest value, every 8-bit pixel within 1. Sums of
// products come out in another order on every kind of CPU, which is what the tolerance is for.
constexpr double kLatentTolerance = 1e-4;
constexpr int kPixelTolerance = 1;

int largest_pixel_difference(const io::Image& a, const io::Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  int worst = 0;
  for (size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i)
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return worst;
}

void check_images(const ReferenceCase& expected, const std::vector<io::Image>& images) {
  for (size_t i = 0; i < images.size(); ++i) {
    const auto png = io::load_png(expected.folder() / fmt::format("image_{}.png", i));
    EXPECT_LE(largest_pixel_difference(images[i], png.image), kPixelTolerance) << "image " << i;
  }
}

class StableDiffusionCase : public ::testing::TestWithParam<std::string> {};

TEST_P(StableDiffusionCase, GivesDiffusersEmbeddingsLatentsAndPixels) {
  const ReferenceCase expected(GetParam());
  auto pipeline = expected.load();
  size_t steps = 0;
  const auto observe = [&](const StepReport& step) {
    ++steps;
    const at::Tensor wanted = expected.tensor(fmt::format("latents_{:03}", step.index));
    EXPECT_LT(relative_error(step.latents, wanted), kLatentTolerance) << "after step " << step.index;
  };
  const Output result = pipeline(expected.request(), observe);
  EXPECT_EQ(steps, expected.step_count());
  EXPECT_LT(relative_error(result.latents, expected.tensor("latents")), kLatentTolerance);
  ASSERT_EQ(result.images.size(), expected.request().image_count());
  check_images(expected, result.images);
}

TEST_P(StableDiffusionCase, EncodesPromptsAsTransformersDoes) {
  const ReferenceCase expected(GetParam());
  const auto pipeline = StableDiffusionPipeline::from_folder(io::ModelFolder::open(expected.checkpoint()),
                                                             expected.load_options());
  Request request = expected.request();
  request.num_images_per_prompt = 1;
  const bool guided = expected.has("negative_prompt_embeds");
  const auto embeds = pipeline->encode_prompt(request, guided);
  EXPECT_LT(relative_error(embeds.positive, expected.tensor("prompt_embeds")), 1e-5);
  if (!guided) return;
  EXPECT_LT(relative_error(embeds.negative, expected.tensor("negative_prompt_embeds")), 1e-5);
}

// The pictures of a batch are those of its images one by one: a batch's composition must not show.
TEST_P(StableDiffusionCase, GivesTheSamePicturesOneByOne) {
  const ReferenceCase expected(GetParam());
  auto pipeline = expected.load();
  const Request request = expected.request();
  if (request.image_count() < 2) return;  // the test above is this one
  std::vector<io::Image> images;
  for (size_t i = 0; i < request.image_count(); ++i) {
    Request one = request;
    one.prompt = {request.prompt[i / static_cast<size_t>(request.num_images_per_prompt)]};
    one.num_images_per_prompt = 1;
    one.seeds = {request.seed + i};
    images.push_back(pipeline(one).images[0]);
  }
  check_images(expected, images);
}

std::vector<std::string> stable_diffusion_cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(test::data("reference")))
    if (fs::exists(entry.path() / "case.json")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(ReferenceData, HoldsAllStableDiffusionCases) { EXPECT_EQ(stable_diffusion_cases().size(), 19u); }

INSTANTIATE_TEST_SUITE_P(Diffusers, StableDiffusionCase, ::testing::ValuesIn(stable_diffusion_cases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace diffract::pipelines
