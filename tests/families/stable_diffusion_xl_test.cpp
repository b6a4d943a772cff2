// What Stable Diffusion XL's pipeline makes of a request, beyond the reference cases.
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/stable_diffusion_xl/micro_conditioning.h"
#include "diffract/io/safetensors.h"
#include "diffract/loading/load_component.h"
#include "diffract/pipelines/denoise.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using pipelines::Request;
using test::error_of;

std::shared_ptr<const StableDiffusionXLPipeline> load(const std::string& name,
                                                      const loading::LoadOptions& options = {}) {
  return StableDiffusionXLPipeline::from_pretrained(test::data("reference/checkpoints/" + name).string(),
                                                    options);
}

const StableDiffusionXLPipeline& tiny() {
  static const auto pipeline = load("sdxl");
  return *pipeline;
}

Request request(const std::function<void(Request&)>& change = {}) {
  Request r{.prompt = {"a dog"},
            .num_inference_steps = 2,
            .height = 64,
            .width = 64,
            .output_type = pipelines::OutputType::latent};
  if (change) change(r);
  return r;
}

at::Tensor latents(const std::function<void(Request&)>& change = {}) {
  return tiny()(request(change)).latents;
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

constexpr double kRounding = 1e-4;  // another batch sums in another order

TEST(StableDiffusionXLPipeline, HasDiffusersDefaults) {
  const auto defaults = tiny().defaults();
  EXPECT_EQ(defaults.size.height, 16 * 8);  // the UNet's sample_size times the VAE's scale
  EXPECT_EQ(defaults.num_inference_steps, 50);
  EXPECT_EQ(defaults.guidance_scale, 5.0);
}

TEST(StableDiffusionXLPipeline, TakesEmbeddingsInPlaceOfPrompts) {
  const auto with_texts = [](Request& r) {
    r.prompt = {"a dog", "a cat"};
    r.negative_prompt = {"blurry"};
    r.num_images_per_prompt = 2;
  };
  const auto embeds = tiny().encode_prompt(request(with_texts), true);
  EXPECT_EQ(embeds.prompt_embeds.sizes(), (std::vector<int64_t>{4, 77, 80}));
  EXPECT_EQ(embeds.pooled_prompt_embeds.sizes(), (std::vector<int64_t>{4, 40}));
  const auto without_texts = [&](Request& r) {
    r.prompt.clear();
    r.prompt_embeds = embeds.prompt_embeds;
    r.pooled_prompt_embeds = embeds.pooled_prompt_embeds;
    r.negative_prompt_embeds = embeds.negative_prompt_embeds;
    r.negative_pooled_prompt_embeds = embeds.negative_pooled_prompt_embeds;
  };
  EXPECT_TRUE(at::equal(latents(without_texts), latents(with_texts)));
}

// Of embeddings alone the negative ones are zeros, as of a prompt alone, or those of "".
TEST(StableDiffusionXLPipeline, FillsInNegativeEmbeddings) {
  for (const char* checkpoint : {"sdxl", "sdxl-no-zeros"}) {
    const auto pipeline = load(checkpoint);
    const auto embeds = pipeline->encode_prompt(request(), true);
    EXPECT_EQ(embeds.negative_prompt_embeds.eq(0).all().item<bool>(), std::string(checkpoint) == "sdxl");
    const auto given = (*pipeline)(request([&](Request& r) {
                         r.prompt.clear();
                         r.prompt_embeds = embeds.prompt_embeds;
                         r.pooled_prompt_embeds = embeds.pooled_prompt_embeds;
                       })).latents;
    EXPECT_TRUE(at::equal(given, (*pipeline)(request()).latents)) << checkpoint;
  }
}

TEST(StableDiffusionXLPipeline, TakesAnEmptyNegativePromptForAText) {
  const auto empty = [](Request& r) { r.negative_prompt = {""}; };
  EXPECT_GT(difference(latents(empty), latents()), kRounding);
  const auto embeds = tiny().encode_prompt(request(empty), true);
  EXPECT_FALSE(embeds.negative_pooled_prompt_embeds.eq(0).all().item<bool>());
}

// Python's `prompt_2 or prompt`, prompt by prompt.
TEST(StableDiffusionXLPipeline, TakesThePromptForAnEmptySecondOne) {
  const auto embeds = [](const std::vector<std::string>& prompt_2) {
    return tiny()
        .encode_prompt(request([&](Request& r) {
                         r.prompt = {"a dog", "a cat"};
                         r.prompt_2 = prompt_2;
                       }),
                       false)
        .prompt_embeds;
  };
  EXPECT_TRUE(at::equal(embeds({"", "a red bicycle"}), embeds({"a dog", "a red bicycle"})));
  EXPECT_TRUE(at::equal(embeds({""}), embeds({})));
}

TEST(StableDiffusionXLPipeline, GivesEachPictureOfABatchItsOwnSizes) {
  const auto sizes = [](Request& r) {
    r.original_size = {1024, 768};
    r.negative_original_size = {100, 200};
    r.negative_target_size = {300, 400};
    r.negative_prompt = {"blurry"};
  };
  const at::Tensor together = latents([&](Request& r) {
    sizes(r);
    r.prompt = {"a dog", "a cat", "a tree"};
  });
  const std::string prompts[] = {"a dog", "a cat", "a tree"};
  for (int64_t i = 0; i < 3; ++i) {
    const at::Tensor alone = latents([&](Request& r) {
      sizes(r);
      r.prompt = {prompts[i]};
      r.seeds = {static_cast<uint64_t>(i)};
    });
    EXPECT_LT(difference(together.slice(0, i, i + 1), alone), kRounding) << i;
  }
}

TEST(TimeIds, AreThePicturesOwnWhereNoneAreGiven) {
  const auto ids = time_ids_of(request(), {.height = 64, .width = 96}, false);
  EXPECT_TRUE(at::equal(ids.positive, at::tensor({64.0F, 96.0F, 0.0F, 0.0F, 64.0F, 96.0F})));
  EXPECT_TRUE(at::equal(ids.negative, ids.positive));
}

TEST(TimeIds, OfTheNegativePromptNeedBothSizes) {
  const auto negative = [](const std::function<void(Request&)>& change) {
    return time_ids_of(request(change), {.height = 64, .width = 96}, false).negative;
  };
  const at::Tensor own = negative({});
  EXPECT_TRUE(at::equal(negative([](Request& r) { r.negative_original_size = {1, 2}; }), own));
  EXPECT_TRUE(at::equal(negative([](Request& r) {
                          r.negative_original_size = {1, 2};
                          r.negative_crops_coords_top_left = {3, 4};
                          r.negative_target_size = {5, 6};
                        }),
                        at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F})));
}

// What diffusers' StableDiffusionXLImg2ImgPipeline makes of them.
TEST(TimeIds, OfARefinerEndWithAScore) {
  const auto ids = time_ids_of(request([](Request& r) {
                                 r.crops_coords_top_left = {3, 4};
                                 r.negative_aesthetic_score = 1.5;
                               }),
                               {.height = 64, .width = 96}, true);
  EXPECT_TRUE(at::equal(ids.positive, at::tensor({64.0F, 96.0F, 3.0F, 4.0F, 6.0F})));
  EXPECT_TRUE(at::equal(ids.negative, at::tensor({64.0F, 96.0F, 0.0F, 0.0F, 1.5F})));
}

// int(round(T - e * T)), and Python rounds half to even.
TEST(StepsUntil, KeepsTheTimestepsAboveTheCutoff) {
  const std::vector<double> timesteps = {901, 801, 701, 601, 501, 401, 301, 201, 101, 1};
  const auto count = [&](std::optional<double> end) { return pipelines::steps_until(end, timesteps, 1000); };
  EXPECT_EQ(count({}), 10u);
  EXPECT_EQ(count(0.0), 10u);
  EXPECT_EQ(count(1.0), 10u);
  EXPECT_EQ(count(0.8), 8u);
  EXPECT_EQ(count(0.5), 5u);
  EXPECT_EQ(count(0.01), 0u);
  EXPECT_EQ(pipelines::steps_until(0.5, {3, 2, 1}, 5), 2u);     // 2.5 is 2
  EXPECT_EQ(pipelines::steps_until(0.5, {4, 3, 2, 1}, 7), 1u);  // 3.5 is 4
}

TEST(StableDiffusionXLPipeline, StopsWhereDenoisingEnds) {
  size_t steps = 0, count = 0;
  tiny()(request([](Request& r) {
           r.num_inference_steps = 10;
           r.denoising_end = 0.3;
         }),
         [&](const pipelines::StepReport& step) {
           ++steps;
           count = step.count;
         });
  EXPECT_EQ(steps, 3u);
  EXPECT_EQ(count, 3u);
}

TEST(StableDiffusionXLPipeline, NamesTheArgumentThatIsWrong) {
  const std::pair<const char*, std::function<void(Request&)>> cases[] = {
      {"denoising_end 1.5", [](Request& r) { r.denoising_end = 1.5; }},
      {"original_size -1",
       [](Request& r) {
         r.original_size = {64, -1};
       }},
      {"height 65", [](Request& r) { r.height = 65; }},
      {"clip_skip 3", [](Request& r) { r.clip_skip = 3; }},  // of the first encoder's three layers
      {"negative_prompt_2",
       [](Request& r) {
         r.negative_prompt_2 = {"a", "b"};
       }},
      {"true_cfg_scale", [](Request& r) { r.true_cfg_scale = 2; }},
      {"pooled_prompt_embeds",
       [](Request& r) {
         r.prompt.clear();
         r.prompt_embeds = at::zeros({1, 77, 80});
       }},
      {"[1, 77, 64]",
       [](Request& r) {
         r.prompt.clear();
         r.prompt_embeds = at::zeros({1, 77, 64});
         r.pooled_prompt_embeds = at::zeros({1, 40});
         r.guidance_scale = 1;
       }},
      {"[2, 32]",
       [](Request& r) {
         r.prompt.clear();
         r.prompt_embeds = at::zeros({1, 77, 80});
         r.pooled_prompt_embeds = at::zeros({1, 32});
       }},
      {"negative_prompt_embeds",
       [](Request& r) {
         r.prompt.clear();
         r.prompt_embeds = at::zeros({1, 77, 80});
         r.pooled_prompt_embeds = at::zeros({1, 40});
         r.negative_prompt_embeds = at::zeros({1, 70, 80});
         r.negative_pooled_prompt_embeds = at::zeros({1, 40});
       }},
  };
  for (const auto& [named, change] : cases) {
    const auto message = error_of<UsageError>([&] { tiny()(request(change)); });
    EXPECT_NE(message.find(named), std::string::npos) << named << ": " << message;
  }
}

TEST(StableDiffusionXLPipeline, SaysWhatHasNoEffect) {
  const auto said = [](const std::function<void(Request&)>& change) {
    ::testing::internal::CaptureStderr();
    latents(change);
    return ::testing::internal::GetCapturedStderr();
  };
  const std::pair<const char*, std::function<void(Request&)>> cases[] = {
      {"negative_prompt_2: has no effect, as there is no negative_prompt",
       [](Request& r) { r.negative_prompt_2 = {"blurry"}; }},
      {"negative_prompt_2: has no effect, as guidance_scale",
       [](Request& r) {
         r.negative_prompt_2 = {"blurry"};
         r.guidance_scale = 0;
       }},
      {"negative_target_size: has no effect",
       [](Request& r) {
         r.negative_target_size = {64, 64};
       }},
  };
  for (const auto& [expected, change] : cases) {
    const std::string text = said(change);
    EXPECT_NE(text.find(expected), std::string::npos) << expected << ": " << text;
  }
}

// One text encoder, and numbers of its own; it needs a picture, which there is no way to give yet.
TEST(StableDiffusionXLPipeline, LoadsARefinerAndEncodesItsPrompts) {
  const auto refiner = load("sdxl-refiner");
  const auto embeds =
      refiner->encode_prompt(request([](Request& r) { r.prompt = {"a cat paints an umbrella"}; }), true);
  const auto expected = io::SafetensorsFile::open(test::data("models/sdxl_refiner_prompt.safetensors"));
  const auto near = [&](const at::Tensor& found, const char* name) {
    EXPECT_LT(test::relative_error(found, test::load_tensor(*expected, name)), 1e-5) << name;
  };
  near(embeds.prompt_embeds, "prompt_embeds");
  near(embeds.negative_prompt_embeds, "negative_prompt_embeds");
  near(embeds.pooled_prompt_embeds, "pooled_prompt_embeds");
  near(embeds.negative_pooled_prompt_embeds, "negative_pooled_prompt_embeds");
  const auto message = error_of<UsageError>([&] { (*refiner)(request()); });
  EXPECT_NE(message.find("refiner"), std::string::npos) << message;
}

// A copy of a checkpoint with a key of one file changed.
std::string changed(const test::TempFolder& folder, const std::string& file, const char* key,
                    const Json& value) {
  namespace fs = std::filesystem;
  fs::remove_all(folder / "model");
  fs::copy(test::data("reference/checkpoints/sdxl"), folder / "model", fs::copy_options::recursive);
  Json config = load_json(folder / "model" / file);
  config[key] = value;
  folder.file("model/" + file, json_text(config));
  return (folder / "model").string();
}

// As diffusers' SDXL pipeline does, and its Stable Diffusion pipeline does not, whose VAE's configs ask for
// it too.
TEST(StableDiffusionXLPipeline, ComputesItsVaeInFloat32WhereItsConfigAsksForIt) {
  const test::TempFolder folder;
  const auto pixels = [&](bool force_upcast, at::ScalarType arithmetic) {
    const auto pipeline =
        DiffusionPipeline::from_pretrained(changed(folder, "vae/config.json", "force_upcast", force_upcast),
                                           {.torch_dtype = at::kHalf, .arithmetic = arithmetic});
    Request one = request();
    one.output_type = pipelines::OutputType::image;
    return pipeline(one).images[0].pixels;
  };
  const loading::FamilyFacts& facts = tiny().facts();
  const auto& vae = *models::find_model_class(std::string_view("AutoencoderKL"));
  const auto arithmetic_of = [&](const loading::FamilyFacts* of, const Json& config, at::ScalarType asked) {
    return loading::policy_of(of, vae, ConfigReader(config, "vae"), {.arithmetic = asked}).arithmetic;
  };
  EXPECT_EQ(arithmetic_of(&facts, Json::object(), at::kHalf), at::kFloat);  // diffusers' default
  EXPECT_EQ(arithmetic_of(&facts, {{"force_upcast", true}}, at::kBFloat16), at::kBFloat16);
  EXPECT_EQ(arithmetic_of(&facts, {{"force_upcast", false}}, at::kHalf), at::kHalf);
  EXPECT_EQ(arithmetic_of(nullptr, Json::object(), at::kHalf), at::kHalf);
  EXPECT_NE(pixels(true, at::kHalf), pixels(false, at::kHalf));
  EXPECT_EQ(pixels(true, at::kFloat), pixels(false, at::kFloat));
}

// Playground 2.5's VAE.
TEST(StableDiffusionXLPipeline, DecodesLatentsWithAMeanAndADeviation) {
  const test::TempFolder folder;
  const auto path = changed(folder, "vae/config.json", "latents_mean", {0.1, 0.2, -0.3, 0.4});
  Json config = load_json(folder / "model/vae/config.json");
  config["latents_std"] = {0.5, 1, 2, 4};
  folder.file("model/vae/config.json", json_text(config));
  const auto pipeline = StableDiffusionXLPipeline::from_pretrained(path);
  const auto& vae = *pipeline->core().vae;
  const at::Tensor x = at::ones({2, 4, 3, 5});
  const double scaling = vae.scaling_factor();
  const at::Tensor expected =
      at::tensor({0.5 / scaling + 0.1, 1 / scaling + 0.2, 2 / scaling - 0.3, 4 / scaling + 0.4})
          .to(at::kFloat)
          .view({1, 4, 1, 1})
          .expand({2, 4, 3, 5});
  EXPECT_TRUE(at::allclose(vae.unscaled(x), expected));
}

}  // namespace
}  // namespace diffract::families
