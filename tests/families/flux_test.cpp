// What FLUX has beyond what all families have.
#include "diffract/families/flux/flux.h"

#include "diffract/families/diffusion_pipeline.h"
#include "tests/support/damaged_model.h"

namespace diffract::families {
namespace {

namespace fs = std::filesystem;

class FluxFolder : public test::DamagedModel {
 protected:
  FluxFolder() : DamagedModel("flux-dev-sharded", "") {}
};

TEST_F(FluxFolder, MayLackThePartsThatAreLeftOut) {
  for (const char* part : {"tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"})
    fs::remove_all(model_ / part);
  for (const auto& file : files(".safetensors"))
    if (file.starts_with("vae")) fs::remove(model_ / file);
  FluxPipeline::Parts parts{.tokenizer = nullptr,
                            .tokenizer_2 = nullptr,
                            .text_encoder = nullptr,
                            .text_encoder_2 = nullptr,
                            .vae = nullptr};
  const loading::LoadOptions placed{.device_map = "auto"};
  const auto denoiser = FluxPipeline::from_pretrained(model_.string(), parts, placed);
  const pipelines::Request request{.num_inference_steps = 1,
                                   .height = 64,
                                   .width = 64,
                                   .output_type = pipelines::OutputType::latent,
                                   .prompt_embeds = at::zeros({1, 16, 32}),
                                   .pooled_prompt_embeds = at::zeros({1, 32})};
  EXPECT_EQ(denoiser(request).latents.size(0), 1);
  parts.transformer = nullptr;
  EXPECT_THROW(FluxPipeline::from_pretrained(model_.string(), parts, placed)(request), UsageError);
}

TEST_F(FluxFolder, HasDefaultsOfItsOwn) {
  write(model_ / "diffract_defaults.json", R"({"height": 64, "width": 96, "num_inference_steps": 2})");
  const auto defaults = DiffusionPipeline::from_pretrained(model_.string()).defaults();
  EXPECT_EQ(defaults.size.height, 64);
  EXPECT_EQ(defaults.size.width, 96);
  EXPECT_EQ(defaults.num_inference_steps, 2);
  EXPECT_EQ(defaults.guidance_scale, 3.5);
  for (const char* bad : {R"({"height": "tall"})", R"({"width": 0})", R"({"depth": 3})", "[1]", "{"}) {
    write(model_ / "diffract_defaults.json", bad);
    EXPECT_NE(run().find("diffract_defaults.json"), std::string::npos) << bad;
  }
}

class FluxRequests : public ::testing::Test {
 protected:
  std::string refused(const pipelines::Request& request) {
    return test::error_of<UsageError>([&] { pipeline_(request); });
  }
  pipelines::Request with_embeds() const {
    return {.num_inference_steps = 1,
            .height = 64,
            .width = 64,
            .prompt_embeds = at::zeros({1, 16, 32}),
            .pooled_prompt_embeds = at::zeros({1, 32})};
  }
  FluxPipeline pipeline_ =
      FluxPipeline::from_pretrained(test::data("reference/checkpoints/flux-dev").string());
};

TEST_F(FluxRequests, NameWhatDoesNotFit) {
  const pipelines::Request sound{.prompt = {"a dog"}, .num_inference_steps = 1, .height = 64, .width = 64};
  const auto expect = [&](const char* name, const std::function<void(pipelines::Request&)>& change) {
    pipelines::Request request = sound;
    change(request);
    EXPECT_NE(refused(request).find(name), std::string::npos) << name << ": " << refused(request);
  };
  expect("max_sequence_length", [](pipelines::Request& r) { r.max_sequence_length = 513; });
  expect("max_sequence_length", [](pipelines::Request& r) { r.max_sequence_length = 0; });
  expect("height", [](pipelines::Request& r) { r.height = 15; });
  expect("width", [](pipelines::Request& r) { r.width = 8; });
  expect("prompt", [](pipelines::Request& r) { r.prompt.clear(); });
  expect("prompt_2", [](pipelines::Request& r) { r.prompt_2 = {"a", "b"}; });
  expect("clip_skip", [](pipelines::Request& r) { r.clip_skip = 1; });
  expect("guidance_rescale", [](pipelines::Request& r) { r.guidance_rescale = 0.5; });
  expect("eta", [](pipelines::Request& r) { r.eta = 0.5; });
  expect("true_cfg_scale", [](pipelines::Request& r) { r.true_cfg_scale = -1; });
  expect("num_inference_steps", [](pipelines::Request& r) { r.num_inference_steps = 0; });
}

TEST_F(FluxRequests, NameTheEmbeddingsThatDoNotFit) {
  EXPECT_EQ(pipeline_(with_embeds()).images.size(), 1u);
  const auto expect = [&](const char* name, const std::function<void(pipelines::Request&)>& change) {
    pipelines::Request request = with_embeds();
    change(request);
    EXPECT_NE(refused(request).find(name), std::string::npos) << name << ": " << refused(request);
  };
  expect("prompt_embeds", [](pipelines::Request& r) { r.prompt_embeds = at::zeros({1, 16, 31}); });
  expect("prompt_embeds", [](pipelines::Request& r) { r.prompt_embeds = at::zeros({16, 32}); });
  expect("prompt_embeds", [](pipelines::Request& r) { r.prompt_embeds = at::zeros({1, 0, 32}); });
  expect("prompt_embeds", [](pipelines::Request& r) { r.prompt = {"a dog"}; });
  expect("pooled_prompt_embeds", [](pipelines::Request& r) { r.pooled_prompt_embeds = at::zeros({1, 5}); });
  expect("pooled_prompt_embeds", [](pipelines::Request& r) { r.pooled_prompt_embeds = at::zeros({2, 32}); });
  expect("pooled_prompt_embeds", [](pipelines::Request& r) { r.pooled_prompt_embeds = at::Tensor(); });
  expect("negative_prompt_embeds", [](pipelines::Request& r) {
    r.negative_prompt_embeds = at::zeros({1, 16, 32});
  });
  expect("negative_prompt_embeds", [](pipelines::Request& r) {
    r.true_cfg_scale = 4;
    r.negative_prompt_embeds = at::zeros({1, 15, 32});
    r.negative_pooled_prompt_embeds = at::zeros({1, 32});
  });
}

TEST_F(FluxRequests, SayWhichPartIsMissing) {
  const auto model = test::data("reference/checkpoints/flux-dev").string();
  const auto without_text = FluxPipeline::from_pretrained(model, {.text_encoder = nullptr});
  EXPECT_NE(test::error_of<UsageError>([&] { without_text.encode_prompt({"a dog"}); }).find("loaded without"),
            std::string::npos);
  pipelines::Request request = with_embeds();
  const auto without_vae = FluxPipeline::from_pretrained(model, {.vae = nullptr});
  EXPECT_THROW(without_vae(request), UsageError);
  request.output_type = pipelines::OutputType::latent;
  EXPECT_EQ(without_vae(request).latents.sizes(), at::IntArrayRef({1, 16, 16}));
}

TEST_F(FluxRequests, SayThatThereIsNoTextToEncode) {
  const auto flux = FluxPipeline::from_pretrained(test::data("reference/checkpoints/flux-dev").string(), {});
  EXPECT_NE(test::error_of<UsageError>([&] { flux.encode_prompt({}); }).find("prompt: none given"),
            std::string::npos);
}

TEST_F(FluxRequests, RefuseSchedulersOfAnotherKind) {
  EXPECT_NE(refused({.prompt = {"a dog"}, .scheduler = "EulerDiscreteScheduler"}).find("flow matching"),
            std::string::npos);
}

}  // namespace
}  // namespace diffract::families
