// What corruption_test.cpp does to Stable Diffusion, for what FLUX has beyond it.
#include "diffract/pipelines/flux.h"
#include "tests/support/damaged_model.h"

namespace diffract::pipelines {
namespace {

namespace fs = std::filesystem;

class FluxCorruption : public test::DamagedModel {
 protected:
  FluxCorruption() : DamagedModel("flux-dev-sharded", "") {}
};

TEST_F(FluxCorruption, OfNothingGivesAPicture) { EXPECT_EQ(run(), ""); }

TEST_F(FluxCorruption, ByCuttingAFileShortOrTakingItAway) {
  for (const auto& extension : {".json", ".safetensors"})
    for (const auto& file : files(extension)) {
      const bool needed = !file.starts_with("tokenizer");  // a tokenizer's files tell much twice
      const auto size = fs::file_size(model_ / file);
      for (const auto length : {uintmax_t{1}, size / 2, size - 3}) {
        const auto message = with_damage(file, [&](const fs::path& path) { fs::resize_file(path, length); });
        if (needed) expect_named(message, file);
      }
      const auto message = with_damage(file, [](const fs::path& path) { fs::remove(path); });
      if (needed) expect_named(message, file);
    }
  EXPECT_GE(cases_, 60u);
}

TEST_F(FluxCorruption, OfPartsThatAreLeftOutIsNotSeen) {
  for (const char* part : {"tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"})
    fs::remove_all(model_ / part);
  for (const auto& file : files(".safetensors"))
    if (file.starts_with("vae")) fs::remove(model_ / file);
  FluxPipeline::Parts parts{.tokenizer = nullptr,
                            .tokenizer_2 = nullptr,
                            .text_encoder = nullptr,
                            .text_encoder_2 = nullptr,
                            .vae = nullptr};
  const LoadOptions placed{.device_map = "auto"};
  const auto denoiser = FluxPipeline::from_pretrained(model_.string(), parts, placed);
  const Request request{.num_inference_steps = 1,
                        .height = 64,
                        .width = 64,
                        .output_type = OutputType::latent,
                        .prompt_embeds = at::zeros({1, 16, 32}),
                        .pooled_prompt_embeds = at::zeros({1, 32})};
  EXPECT_EQ(denoiser(request).latents.size(0), 1);
  parts.transformer = nullptr;
  EXPECT_THROW(FluxPipeline::from_pretrained(model_.string(), parts, placed)(request), UsageError);
}

TEST_F(FluxCorruption, OfTheTokenizersVocabulary) {
  const std::string file = "tokenizer_2/tokenizer.json";
  for (const size_t part : {1u, 3u, 5u, 7u, 9u}) {
    const auto message = with_damage(
        file, [&](const fs::path& path) { fs::resize_file(path, fs::file_size(path) * part / 10); });
    EXPECT_NE(message.find(file), std::string::npos) << message;
  }
}

TEST_F(FluxCorruption, OfConfigValues) {
  const std::tuple<const char*, const char*, Json> cases[] = {
      {"model_index.json", "text_encoder_2", {"transformers", "CLIPTextModel"}},
      {"model_index.json", "tokenizer_2", {"transformers", "CLIPTokenizer"}},
      {"model_index.json", "transformer", {"diffusers", "SD3Transformer2DModel"}},
      {"model_index.json", "scheduler", {"diffusers", "PNDMScheduler"}},
      {"transformer/config.json", "patch_size", 2},
      {"transformer/config.json", "in_channels", 18},
      {"transformer/config.json", "in_channels", 32},
      {"transformer/config.json", "num_layers", 7},
      {"transformer/config.json", "num_single_layers", 100000},
      {"transformer/config.json", "attention_head_dim", 18},
      {"transformer/config.json", "num_attention_heads", 3},
      {"transformer/config.json", "joint_attention_dim", 33},
      {"transformer/config.json", "pooled_projection_dim", 31},
      {"transformer/config.json", "guidance_embeds", "yes"},
      {"transformer/config.json", "axes_dims_rope", {16}},
      {"transformer/config.json", "axes_dims_rope", {3, 7, 6}},
      {"text_encoder_2/config.json", "d_model", 64},
      {"text_encoder_2/config.json", "d_kv", 0},
      {"text_encoder_2/config.json", "num_layers", 9},
      {"text_encoder_2/config.json", "num_heads", 3},
      {"text_encoder_2/config.json", "vocab_size", 10},
      {"text_encoder_2/config.json", "feed_forward_proj", "gated-magic"},
      {"text_encoder_2/config.json", "relative_attention_num_buckets", 2},
      {"text_encoder_2/config.json", "relative_attention_max_distance", 8},
      {"vae/config.json", "latent_channels", 8},
      {"vae/config.json", "shift_factor", "x"},
      {"scheduler/scheduler_config.json", "shift", 0},
      {"scheduler/scheduler_config.json", "time_shift_type", "magic"},
      {"scheduler/scheduler_config.json", "max_image_seq_len", 256},
      {"scheduler/scheduler_config.json", "num_train_timesteps", -1},
      {"scheduler/scheduler_config.json", "shift_terminal", 2},
      {"tokenizer_2/special_tokens_map.json", "eos_token", "<none>"},
  };
  for (const auto& [file, key, value] : cases) {
    const auto message = with_damage(file, [&, k = key, v = value](const fs::path& path) {
      Json config = load_json(path);
      config[k] = v;
      write(path, config.dump());
    });
    EXPECT_NE(message, "") << file << ": " << key << " = " << value;
  }
}

TEST_F(FluxCorruption, OfItsOwnDefaults) {
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
  std::string refused(const Request& request) {
    return test::error_of<UsageError>([&] { pipeline_(request); });
  }
  Request with_embeds() const {
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
  const Request sound{.prompt = {"a dog"}, .num_inference_steps = 1, .height = 64, .width = 64};
  const auto expect = [&](const char* name, const std::function<void(Request&)>& change) {
    Request request = sound;
    change(request);
    EXPECT_NE(refused(request).find(name), std::string::npos) << name << ": " << refused(request);
  };
  expect("max_sequence_length", [](Request& r) { r.max_sequence_length = 513; });
  expect("max_sequence_length", [](Request& r) { r.max_sequence_length = 0; });
  expect("height", [](Request& r) { r.height = 15; });
  expect("width", [](Request& r) { r.width = 8; });
  expect("prompt", [](Request& r) { r.prompt.clear(); });
  expect("prompt_2", [](Request& r) { r.prompt_2 = {"a", "b"}; });
  expect("clip_skip", [](Request& r) { r.clip_skip = 1; });
  expect("guidance_rescale", [](Request& r) { r.guidance_rescale = 0.5; });
  expect("eta", [](Request& r) { r.eta = 0.5; });
  expect("true_cfg_scale", [](Request& r) { r.true_cfg_scale = -1; });
  expect("num_inference_steps", [](Request& r) { r.num_inference_steps = 0; });
}

TEST_F(FluxRequests, NameTheEmbeddingsThatDoNotFit) {
  EXPECT_EQ(pipeline_(with_embeds()).images.size(), 1u);
  const auto expect = [&](const char* name, const std::function<void(Request&)>& change) {
    Request request = with_embeds();
    change(request);
    EXPECT_NE(refused(request).find(name), std::string::npos) << name << ": " << refused(request);
  };
  expect("prompt_embeds", [](Request& r) { r.prompt_embeds = at::zeros({1, 16, 31}); });
  expect("prompt_embeds", [](Request& r) { r.prompt_embeds = at::zeros({16, 32}); });
  expect("prompt_embeds", [](Request& r) { r.prompt_embeds = at::zeros({1, 0, 32}); });
  expect("prompt_embeds", [](Request& r) { r.prompt = {"a dog"}; });
  expect("pooled_prompt_embeds", [](Request& r) { r.pooled_prompt_embeds = at::zeros({1, 5}); });
  expect("pooled_prompt_embeds", [](Request& r) { r.pooled_prompt_embeds = at::zeros({2, 32}); });
  expect("pooled_prompt_embeds", [](Request& r) { r.pooled_prompt_embeds = at::Tensor(); });
  expect("negative_prompt_embeds", [](Request& r) { r.negative_prompt_embeds = at::zeros({1, 16, 32}); });
  expect("negative_prompt_embeds", [](Request& r) {
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
  Request request = with_embeds();
  const auto without_vae = FluxPipeline::from_pretrained(model, {.vae = nullptr});
  EXPECT_THROW(without_vae(request), UsageError);
  request.output_type = OutputType::latent;
  EXPECT_EQ(without_vae(request).latents.sizes(), at::IntArrayRef({1, 16, 16}));
}

TEST_F(FluxRequests, SayThatThereIsNoTextToEncode) {
  const auto flux = FluxPipeline::from_pretrained(test::data("reference/checkpoints/flux-dev").string(), {});
  EXPECT_NE(test::error_of<UsageError>([&] { flux.encode_prompt({}); }).find("prompt: none given"),
            std::string::npos);
}

TEST_F(FluxRequests, RefuseSchedulersOfAnotherKind) {
  EXPECT_THROW(pipeline_.set_scheduler({.class_name = "EulerDiscreteScheduler", .source = "test"}),
               UsageError);
}

}  // namespace
}  // namespace diffract::pipelines
