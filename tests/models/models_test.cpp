// Models against what diffusers gives for the same weights, where the pipeline's reference cases do not
// reach.
#include <gtest/gtest.h>

#include <limits>

#include "diffract/core/error.h"
#include "diffract/kernels/residual_norm.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/models/text/t5_encoder_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/weights/checkpoint.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::models {
namespace {

using test::relative_error;

// Another order of summation, as in the pipeline's cases, but one evaluation only.
constexpr double kTolerance = 1e-5;

WeightScope weights_of(const std::filesystem::path& file) {
  return {weights::Checkpoint::open({.files = {file}, .description = file.string()}),
          {.arithmetic = at::kFloat}};
}

ConfigReader config_of(const std::filesystem::path& file) { return {load_json(file), file.string()}; }

AutoencoderKL load_vae(const std::filesystem::path& weights) {
  const auto folder = test::data("reference/checkpoints/sd15/vae");
  return {AutoencoderKLConfig::from_json(config_of(folder / "config.json")), weights_of(weights)};
}

const std::filesystem::path kVaeWeights =
    test::data("reference/checkpoints/sd15/vae/diffusion_pytorch_model.safetensors");

// BK-SDM's small models have none. Its tensors are left alone then.
TEST(UNet2DConditionModel, HasNoMiddleBlockWhereItsTypeIsNull) {
  const c10::InferenceMode no_autograd;
  const auto folder = test::data("reference/checkpoints/sd15/unet");
  Json config = load_json(folder / "config.json");
  const auto predict = [&] {
    const UNet2DConditionModel unet(UNet2DConditionConfig::from_json(ConfigReader(config, "config.json")),
                                    weights_of(folder / "diffusion_pytorch_model.safetensors"));
    at::manual_seed(1);
    const auto& c = unet.config();
    return unet(at::randn({1, c.in_channels, 8, 8}), 500.0, at::randn({1, 7, c.cross_attention_dim.front()}));
  };
  const at::Tensor whole = predict();
  config["mid_block_type"] = nullptr;
  const at::Tensor without = predict();
  EXPECT_EQ(without.sizes(), whole.sizes());
  EXPECT_GT(relative_error(without, whole), 1e-3);
  config.erase("mid_block_type");
  EXPECT_TRUE(at::equal(predict(), whole));
}

// The published encoder's hidden values are beyond float16's range.
TEST(T5EncoderModel, ComputesInFloat32WhereFloat16IsAskedFor) {
  const c10::InferenceMode no_autograd;
  const auto folder = test::data("reference/checkpoints/flux-dev/text_encoder_2");
  const auto encode = [&](at::ScalarType arithmetic) {
    const auto checkpoint =
        weights::Checkpoint::open({.files = {folder / "model.safetensors"}, .description = folder.string()});
    const T5EncoderModel t5(T5Config::from_json(config_of(folder / "config.json")),
                            {checkpoint, {.storage = at::kHalf, .arithmetic = arithmetic}});
    return t5(at::arange(5, at::kLong).unsqueeze(0));
  };
  const at::Tensor half = encode(at::kHalf);
  EXPECT_EQ(half.scalar_type(), at::kHalf);
  EXPECT_TRUE(at::equal(half, encode(at::kFloat).to(at::kHalf)));
}

// As diffusers clips the sums of FLUX's blocks.
TEST(GatedResidual, StaysInFloat16sRange) {
  const auto sum = [](at::ScalarType type) {
    const at::Tensor x = at::tensor({60000.0, -60000.0, 1.0, std::numeric_limits<double>::quiet_NaN()});
    return kernels::gated_residual(x.to(type), x.to(type), {});
  };
  EXPECT_TRUE(at::equal(sum(at::kHalf).slice(0, 0, 3), at::tensor({65504.0, -65504.0, 2.0}).to(at::kHalf)));
  EXPECT_TRUE(sum(at::kHalf)[3].isnan().item<bool>());
  EXPECT_EQ(sum(at::kFloat)[0].item<float>(), 120000);
}

TEST(AutoencoderKL, EncodesAsDiffusersDoes) {
  const auto expected = io::SafetensorsFile::open(test::data("models/vae_encode.safetensors"));
  const auto latents = load_vae(kVaeWeights).encode(test::load_tensor(*expected, "pixels"));
  EXPECT_LT(relative_error(latents.mean, test::load_tensor(*expected, "mean")), kTolerance);
  EXPECT_LT(relative_error(latents.logvar, test::load_tensor(*expected, "logvar")), kTolerance);
  const auto noise = at::ones_like(latents.mean);
  EXPECT_TRUE(at::allclose(latents.sample(noise) - latents.mode(), (0.5 * latents.logvar).exp(), 1e-4, 1e-5));
}

TEST(AutoencoderKL, ReadsTheAttentionNamesOfOldCheckpoints) {
  const auto expected = io::SafetensorsFile::open(test::data("models/vae_decode.safetensors"));
  for (const auto& weights : {kVaeWeights, test::data("models/vae_legacy.safetensors")}) {
    const auto pixels = load_vae(weights).decode(test::load_tensor(*expected, "latents"));
    EXPECT_LT(relative_error(pixels, test::load_tensor(*expected, "pixels")), kTolerance) << weights;
  }
}

TEST(AutoencoderKL, RefusesShapesThatItCannotTake) {
  const auto vae = load_vae(kVaeWeights);
  EXPECT_THROW(vae.encode(at::zeros({1, 3, 30, 32})), UsageError);
  EXPECT_THROW(vae.encode(at::zeros({1, 4, 32, 32})), UsageError);
  EXPECT_THROW(vae.encode(at::zeros({3, 32, 32})), UsageError);
  EXPECT_THROW(vae.decode(at::zeros({1, 3, 4, 4})), UsageError);
  EXPECT_THROW(vae.decode(at::zeros({0, 4, 4, 4})), UsageError);
}

TEST(UNet2DConditionModel, TakesEveryOptionAsDiffusersDoes) {
  const auto file = test::data("models/unet_options.safetensors");
  const auto expected = io::SafetensorsFile::open(file);
  const auto config = UNet2DConditionConfig::from_json(config_of(test::data("models/unet_options.json")));
  const UNet2DConditionModel unet(config, weights_of(file) / "weights");
  const auto sample = test::load_tensor(*expected, "input.sample"),
             text = test::load_tensor(*expected, "input.text");
  EXPECT_LT(relative_error(unet(sample, 123.4, text), test::load_tensor(*expected, "output.sample")),
            kTolerance);
  EXPECT_THROW(unet(sample, 0, text.slice(0, 0, 1)), UsageError);
  EXPECT_THROW(unet(sample, 0, text, {.added = at::zeros({2, 32})}), UsageError);
  EXPECT_THROW(unet.added_embedding(at::zeros({2, 10}), at::zeros({2, 6})), UsageError);
  EXPECT_THROW(unet(sample, 0, text.slice(2, 0, 8)), UsageError);
  EXPECT_THROW(unet(sample.slice(1, 0, 3), 0, text), UsageError);
}

TEST(UNet2DConditionModel, AddsWhatItIsToldOfAPictureAsDiffusersDoes) {
  const auto file = test::data("models/unet_xl.safetensors");
  const auto expected = io::SafetensorsFile::open(file);
  const UNet2DConditionModel unet(
      UNet2DConditionConfig::from_json(config_of(test::data("models/unet_xl.json"))),
      weights_of(file) / "weights");
  const auto sample = test::load_tensor(*expected, "input.sample"),
             text = test::load_tensor(*expected, "input.text"),
             text_embeds = test::load_tensor(*expected, "input.text_embeds"),
             time_ids = test::load_tensor(*expected, "input.time_ids");
  const auto added = unet.added_embedding(text_embeds, time_ids);
  EXPECT_LT(relative_error(unet(sample, 123.4, text, {.added = added}),
                           test::load_tensor(*expected, "output.sample")),
            kTolerance);
  EXPECT_THROW(unet(sample, 123.4, text), UsageError);
  EXPECT_THROW(unet.added_embedding(text_embeds, time_ids.slice(1, 0, 4)), UsageError);
  EXPECT_THROW(unet.added_embedding(text_embeds.slice(0, 0, 1), time_ids), UsageError);
}

TEST(UNet2DConditionModel, TakesGuidanceAsDiffusersDoes) {
  const auto file = test::data("models/unet_guided.safetensors");
  const auto expected = io::SafetensorsFile::open(file);
  const auto config = UNet2DConditionConfig::from_json(config_of(test::data("models/unet_guided.json")));
  const UNet2DConditionModel unet(config, weights_of(file) / "weights");
  const auto sample = test::load_tensor(*expected, "input.sample"),
             text = test::load_tensor(*expected, "input.text"),
             guidance = test::load_tensor(*expected, "input.guidance");
  const auto found = unet(sample, 123.4, text, {.guidance = guidance});
  EXPECT_LT(relative_error(found, test::load_tensor(*expected, "output.sample")), kTolerance);
  EXPECT_GT(relative_error(unet(sample, 123.4, text, {.guidance = guidance + 3}), found), 10 * kTolerance);
  EXPECT_THROW(unet(sample, 0, text), UsageError);
  EXPECT_THROW(unet(sample, 0, text, {.guidance = guidance.slice(0, 0, 1)}), UsageError);
}

TEST(UNet2DConditionConfig, NamesWhatItDoesNotBuild) {
  const auto sound = load_json(test::data("models/unet_options.json"));
  const std::pair<const char*, Json> cases[] = {
      {"class_embed_type", "timestep"},
      {"addition_embed_type", "text"},
      {"addition_embed_type", "text_time"},  // without its widths
      {"transformer_layers_per_block", {1, {2, 2}, 1}},
      {"transformer_layers_per_block", {1, 2}},
      {"encoder_hid_dim", 32},
      {"time_cond_proj_dim", 255},
      {"mid_block_type", "UNetMidBlock2DSimpleCrossAttn"},
      {"resnet_time_scale_shift", "scale_shift"},
      {"dual_cross_attention", true},
      {"down_block_types", {"AttnDownBlock2D", "DownBlock2D", "DownBlock2D"}},
      {"up_block_types", {"UpBlock2D"}},
      {"block_out_channels", Json::array()},
      {"block_out_channels", {8, 16, 25}},
      {"block_out_channels", {8, -16, 24}},
      {"attention_head_dim", {1, 3, 4}},
      {"layers_per_block", {1, 2}},
      {"cross_attention_dim", 0},
      {"norm_num_groups", 5},
      {"act_fn", "step"},
      {"in_channels", 1e9},
      {"conv_in_kernel", 0},
  };
  for (const auto& [key, value] : cases) {
    Json config = sound;
    config[key] = value;
    const auto message = test::error_of<CheckpointError>([&] {
      UNet2DConditionConfig::from_json({config, "unet/config.json"});
    });
    EXPECT_NE(message.find("unet/config.json"), std::string::npos) << key << ": " << message;
  }
}

TEST(CLIPTextModel, RefusesIdsAndSkipsOutOfRange) {
  const auto folder = test::data("reference/checkpoints/sd15/text_encoder");
  const CLIPTextModel model(CLIPTextConfig::from_json(config_of(folder / "config.json")),
                            weights_of(folder / "model.safetensors"));
  const auto ids = at::tensor({1212, 5, 1213}, at::kLong).unsqueeze(0);
  const auto output = model(ids);
  EXPECT_EQ(output.last_hidden_state.sizes(), (std::vector<int64_t>{1, 3, 32}));
  EXPECT_TRUE(at::equal(output.pooled, output.last_hidden_state.select(1, 2)));
  EXPECT_THROW(model(at::full({1, 3}, 1214, at::kLong)), UsageError);
  EXPECT_THROW(model(at::full({1, 3}, -1, at::kLong)), UsageError);
  EXPECT_THROW(model(at::zeros({1, 78}, at::kLong)), UsageError);
  EXPECT_THROW(model(ids, 3), UsageError);
}

}  // namespace
}  // namespace diffract::models
