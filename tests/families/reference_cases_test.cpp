// Every case of tests/data/reference: what diffusers 0.42.1 computed from tiny random checkpoints, embedding
// by embedding, step by step, pixel by pixel.
#include <gtest/gtest.h>

#include "diffract/families/flux/flux.h"
#include "diffract/families/open_checkpoint.h"
#include "diffract/families/stable_diffusion/stable_diffusion.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"
#include "diffract/pipelines/control.h"
#include "diffract/pipelines/request_fields.h"
#include "tests/support/pictures.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using test::ReferenceCase;
using test::relative_error;

// The contract: every step's latents within 1e-4 of the largest value (or what the case says), every 8-bit
// pixel within 1. Sums of products come out in another order on every kind of CPU, which is what the
// tolerance is for: diffusers differs by up to 3e-5 from itself between them.
constexpr int kPixelTolerance = 1;

class AnyCase : public ::testing::TestWithParam<std::string> {};
class StableDiffusionCase : public ::testing::TestWithParam<std::string> {};
class StableDiffusionXLCase : public ::testing::TestWithParam<std::string> {};
class FluxCase : public ::testing::TestWithParam<std::string> {};

TEST_P(AnyCase, GivesDiffusersLatentsAndPixels) {
  const ReferenceCase expected(GetParam());
  test::expect_reference(expected, expected.load(),
                         {.latents = expected.tolerance(), .pixels = kPixelTolerance});
}

TEST_P(StableDiffusionCase, EncodesPromptsAsTransformersDoes) {
  const ReferenceCase expected(GetParam());
  if (!expected.has("prompt_embeds")) return;  // of another case
  const auto pipeline = StableDiffusionPipeline::from_folder(
      open_checkpoint(expected.model().string(), expected.load_options()), expected.load_options());
  pipelines::Request request = expected.request();
  request.num_images_per_prompt = 1;
  const bool guided = expected.has("negative_prompt_embeds");
  const auto embeds = pipeline->encode_prompt(request, guided);
  EXPECT_LT(relative_error(embeds.positive, expected.tensor("prompt_embeds")), 1e-5);
  if (!guided) return;
  EXPECT_LT(relative_error(embeds.negative, expected.tensor("negative_prompt_embeds")), 1e-5);
}

TEST_P(StableDiffusionXLCase, EncodesPromptsAsTransformersDoes) {
  const ReferenceCase expected(GetParam());
  if (!expected.has("prompt_embeds")) return;
  const auto pipeline = StableDiffusionXLPipeline::from_folder(
      open_checkpoint(expected.model().string(), expected.load_options()), expected.load_options());
  const bool guided = expected.has("negative_prompt_embeds");
  pipelines::Request request = expected.request();
  if (!expected.encodes_the_call()) request.prompt_2.clear();
  const auto embeds = pipeline->encode_prompt(request, guided);
  EXPECT_LT(relative_error(embeds.prompt_embeds, expected.tensor("prompt_embeds")), 1e-5);
  EXPECT_LT(relative_error(embeds.pooled_prompt_embeds, expected.tensor("pooled_prompt_embeds")), 1e-5);
  if (!guided) return;
  EXPECT_LT(relative_error(embeds.negative_prompt_embeds, expected.tensor("negative_prompt_embeds")), 1e-5);
  EXPECT_LT(
      relative_error(embeds.negative_pooled_prompt_embeds, expected.tensor("negative_pooled_prompt_embeds")),
      1e-5);
}

// The pictures of a batch are those of its images one by one: a batch's composition must not show.
TEST_P(AnyCase, GivesTheSamePicturesOneByOne) {
  const ReferenceCase expected(GetParam());
  auto pipeline = expected.load();
  const pipelines::Request request = expected.request();
  if (request.image_count() < 2) return;  // the test above is this one
  std::vector<io::Image> images;
  for (size_t i = 0; i < request.image_count(); ++i) {
    pipelines::Request one = request;
    const size_t prompt = i / static_cast<size_t>(request.num_images_per_prompt);
    for (const auto* field : pipelines::text_fields())
      if (auto& texts = one.*field->texts; texts.size() > 1) texts = {texts[prompt]};
    for (auto* pictures : {&one.image, &one.mask_image})
      if (pictures->size() > 1) *pictures = {(*pictures)[prompt]};
    if (!one.control_image.empty())
      one.control_image =
          pipelines::control_pictures_of(request, prompt, expected.load_options().controlnet.size());
    one.num_images_per_prompt = 1;
    one.seeds = {request.seed.value_or(0) + i};
    images.push_back(pipeline(one).images[0]);
  }
  EXPECT_LE(test::largest_pixel_difference(images, test::reference_images(expected)), kPixelTolerance);
}

TEST_P(FluxCase, EncodesPromptsAsTransformersDoes) {
  const ReferenceCase expected(GetParam());
  if (!expected.has("prompt_embeds")) return;  // of another case
  const auto pipeline = FluxPipeline::from_pretrained(
      expected.checkpoint().string(), {.transformer = nullptr, .vae = nullptr}, expected.load_options());
  const pipelines::Request request = expected.request();
  const auto [prompt_embeds, pooled_prompt_embeds, text_ids] = pipeline.encode_prompt(
      request.prompt,
      {.prompt_2 = request.prompt_2, .max_sequence_length = request.max_sequence_length.value_or(512)});
  EXPECT_LT(relative_error(prompt_embeds, expected.tensor("prompt_embeds")), 1e-5);
  EXPECT_LT(relative_error(pooled_prompt_embeds, expected.tensor("pooled_prompt_embeds")), 1e-5);
  EXPECT_EQ(relative_error(text_ids, expected.tensor("text_ids")), 0);
}

// The guide's way: encode, leave the encoders, denoise from the embeddings, leave the transformer, decode.
TEST_P(FluxCase, GivesTheSameLatentsFromEmbeddings) {
  const ReferenceCase expected(GetParam());
  const std::string model = expected.checkpoint().string();
  pipelines::Request request = expected.request();
  if (request.num_images_per_prompt > 1 || !request.negative_prompt.empty())
    return;  // encoded by the test above
  const auto encoders =
      FluxPipeline::from_pretrained(model, {.transformer = nullptr, .vae = nullptr}, expected.load_options());
  const auto embeds = encoders.encode_prompt(
      request.prompt,
      {.prompt_2 = request.prompt_2, .max_sequence_length = request.max_sequence_length.value_or(512)});
  request.prompt.clear();
  request.prompt_2.clear();
  request.prompt_embeds = embeds.prompt_embeds;
  request.pooled_prompt_embeds = embeds.pooled_prompt_embeds;
  request.output_type = pipelines::OutputType::latent;
  const auto denoiser = FluxPipeline::from_pretrained(model,
                                                      {.tokenizer = nullptr,
                                                       .tokenizer_2 = nullptr,
                                                       .text_encoder = nullptr,
                                                       .text_encoder_2 = nullptr,
                                                       .vae = nullptr},
                                                      expected.load_options());
  EXPECT_LT(relative_error(denoiser(request).latents, expected.tensor("latents")), expected.tolerance());
}

// Those that hold what the text encoders gave.
std::vector<std::string> cases_with_embeddings(const std::string& prefix) {
  std::vector<std::string> names = test::reference_cases(prefix);
  std::erase_if(names, [](const std::string& name) { return !ReferenceCase(name).has("prompt_embeds"); });
  return names;
}

const auto name_of = [](const auto& test) { return test.param; };
INSTANTIATE_TEST_SUITE_P(Diffusers, AnyCase, ::testing::ValuesIn(test::reference_cases("")), name_of);
INSTANTIATE_TEST_SUITE_P(Diffusers1, StableDiffusionCase, ::testing::ValuesIn(cases_with_embeddings("sd15")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Diffusers2, StableDiffusionCase, ::testing::ValuesIn(cases_with_embeddings("sd2")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Diffusers, StableDiffusionXLCase, ::testing::ValuesIn(cases_with_embeddings("sdxl")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Diffusers, FluxCase, ::testing::ValuesIn(test::reference_cases("flux")), name_of);

TEST(ReferenceData, HoldsAllCases) {
  EXPECT_EQ(test::reference_cases("sd15").size(), 76u);
  EXPECT_EQ(test::reference_cases("sd2").size(), 2u);
  EXPECT_EQ(test::reference_cases("sdxl").size(), 33u);
  EXPECT_EQ(cases_with_embeddings("sd").size(), 36u);
  EXPECT_EQ(test::reference_cases("flux").size(), 9u);
}

}  // namespace
}  // namespace diffract::families
