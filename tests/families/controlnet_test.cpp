// ControlNets: what a batch is, what sizes come out, what is refused.
#include <gtest/gtest.h>

#include <fstream>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/loading/controlnet.h"
#include "diffract/pipelines/control.h"
#include "diffract/pipelines/control_preprocessor.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/images.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

namespace fs = std::filesystem;
using pipelines::InputPicture;
using pipelines::Output;
using pipelines::Request;

InputPicture input(const std::string& name) { return test::data("reference/inputs/" + name); }
std::string checkpoint(const std::string& name) {
  return test::data("reference/checkpoints/" + name).string();
}

DiffusionPipeline load(const std::string& model, const std::vector<std::string>& nets,
                       loading::LoadOptions options = {}) {
  for (const std::string& net : nets) options.controlnet.push_back(checkpoint(net));
  return DiffusionPipeline::from_pretrained(checkpoint(model), options);
}
const DiffusionPipeline& one_net() {
  static const DiffusionPipeline pipeline = load("sd15", {"controlnet-sd15-a"});
  return pipeline;
}
const DiffusionPipeline& two_nets() {
  static const DiffusionPipeline pipeline = load("sd15", {"controlnet-sd15-a", "controlnet-sd15-b"});
  return pipeline;
}

// The memory check and the walk, where all values are of bfloat16.
TEST(ControlNet, ComputesInBfloat16) {
  const auto pipeline =
      load("sd15", {"controlnet-sd15-a"}, {.torch_dtype = at::kBFloat16, .arithmetic = at::kBFloat16});
  const Request request = {.prompt = {"a dog"},
                           .control_image = {input("edges.png")},
                           .num_inference_steps = 2,
                           .height = 64,
                           .width = 64};
  EXPECT_TRUE(pipeline.needs_of(request));
  const auto near = one_net()(request).latents, rounded = pipeline(request).latents.to(at::kFloat);
  EXPECT_LT((near - rounded).abs().max().item<float>() / near.abs().max().item<float>(), 0.1);
}

std::string refusal(const DiffusionPipeline& pipeline, const Request& request) {
  return test::error_of<UsageError>([&] { pipeline(request); });
}

// A folder with a copy of a ControlNet whose config says something else.
void copy_net(const fs::path& to, const std::string& net, const std::string& key, const Json& value) {
  fs::copy(checkpoint(net), to);
  fs::permissions(to / "config.json", fs::perms::owner_write, fs::perm_options::add);
  Json config = load_json(to / "config.json");
  config[key] = value;
  std::ofstream(to / "config.json") << config;
}

const Request kRequest = {
    .prompt = {"a dog"}, .control_image = {input("edges.png")}, .num_inference_steps = 2};

// Image i of a request is what its prompt, its pictures and its seed give alone.
void expect_as_one_by_one(const DiffusionPipeline& pipeline, const Request& request, size_t nets) {
  const Output together = pipeline(request);
  ASSERT_EQ(together.images.size(), request.image_count());
  for (size_t i = 0; i < request.image_count(); ++i) {
    const size_t p = i / static_cast<size_t>(request.num_images_per_prompt);
    Request one = request;
    one.prompt = {request.prompt[p]};
    if (request.image.size() > 1) one.image = {request.image[p]};
    if (request.mask_image.size() > 1) one.mask_image = {request.mask_image[p]};
    one.control_image = pipelines::control_pictures_of(request, p, nets);
    one.num_images_per_prompt = 1;
    one.seeds = {request.seed.value_or(0) + i};
    EXPECT_LE(test::largest_pixel_difference(pipeline(one).images[0], together.images[i]), 1) << i;
  }
}

TEST(ControlNet, OfSeveralPicturesIsThatOfEach) {
  for (const bool guess_mode : {false, true})
    expect_as_one_by_one(
        two_nets(),
        {.prompt = {"a dog", "a cat"},
         .control_image = {input("edges.png"), input("square.png"), input("edges_2.png"), input("edges.png")},
         .control_guidance_start = {0, 0.4},
         .guess_mode = guess_mode,
         .num_inference_steps = 4,
         .height = 64,
         .width = 64,
         .num_images_per_prompt = 2},
        2);
  expect_as_one_by_one(one_net(),
                       {.prompt = {"a dog", "a cat"},
                        .image = {input("photo.png"), input("square.png")},
                        .mask_image = {input("mask_photo.png"), input("mask.png")},
                        .padding_mask_crop = 8,
                        .control_image = {input("photo.png"), input("square.png")},
                        .num_inference_steps = 2,
                        .height = 64,
                        .width = 64},
                       1);
}

TEST(ControlNet, GivesTheSizeOfItsPictureWhereNoneIsGiven) {
  const auto size_of = [](const Request& request) {
    const auto size = one_net().image_size(request);
    return std::pair(size.height, size.width);
  };
  Request request = kRequest;
  request.control_image = {input("odd.png")};  // 75x61
  EXPECT_EQ(size_of(request), std::pair(int64_t{56}, int64_t{72}));
  request.height = 32;
  EXPECT_EQ(size_of(request), std::pair(int64_t{32}, int64_t{72}));
  request.height.reset();
  request.image = {input("square.png")};
  EXPECT_EQ(size_of(request), std::pair(int64_t{64}, int64_t{64}));
  request.mask_image = {input("mask.png")};
  request.width = 40;
  EXPECT_EQ(size_of(request), std::pair(int64_t{64}, int64_t{40}));
  EXPECT_EQ(one_net()(request).images[0].width, 40u);
}

// One that does not act leaves the picture as it is. PNDM makes three evaluations of two steps.
TEST(ControlNet, ActsWithinItsShareOfTheWalk) {
  const auto draw = [&](const std::vector<double>& scale, const std::vector<double>& start,
                        const std::vector<double>& end) {
    Request request = kRequest;
    request.height = request.width = 64;
    request.controlnet_conditioning_scale = scale;
    request.control_guidance_start = start;
    request.control_guidance_end = end;
    return one_net()(request).images[0];
  };
  Request plain = kRequest;
  plain.control_image.clear();
  plain.height = plain.width = 64;
  plain.pipeline = "StableDiffusionPipeline";
  const io::Image without = one_net()(plain).images[0];
  EXPECT_EQ(test::largest_pixel_difference(draw({0}, {}, {}), without), 0);
  EXPECT_EQ(test::largest_pixel_difference(draw({1}, {}, {0.3}), without), 0);
  EXPECT_GT(test::largest_pixel_difference(draw({1}, {}, {0.4}), without), 1);
  EXPECT_GT(test::largest_pixel_difference(draw({1}, {}, {}), without), 1);
}

TEST(ControlNet, RefusesPicturesThatDoNotFit) {
  Request request = kRequest;
  request.control_image.clear();
  EXPECT_EQ(
      refusal(one_net(), request),
      "control_image: a ControlNet was loaded, and there is no picture to follow; give one for each with "
      "--control-image");
  EXPECT_NE(refusal(two_nets(), request).find("2 ControlNets were loaded"), std::string::npos);
  EXPECT_EQ(refusal(load("sd15", {}), kRequest),
            "control_image: no ControlNet was loaded that would follow it; give one with --controlnet");
  EXPECT_EQ(refusal(two_nets(), kRequest),
            "control_image: 1 given for 2 ControlNets; give one for each, in their order");
  request = kRequest;
  request.controlnet_conditioning_scale = {1, 2};
  EXPECT_EQ(refusal(one_net(), request),
            "controlnet_conditioning_scale: 2 given for 1 ControlNets; give one for all, or one each");
  request = kRequest;
  request.control_guidance_start = {0.5};
  request.control_guidance_end = {0.5};
  EXPECT_EQ(refusal(one_net(), request),
            "control_guidance_start 0.5: expected less than control_guidance_end 0.5");
  request = kRequest;
  request.guidance_rescale = 0.5;
  EXPECT_EQ(
      refusal(one_net(), request),
      "guidance_rescale: StableDiffusionControlNetPipeline does not take it; leave --guidance-rescale out");
  request = kRequest;
  request.pipeline = "StableDiffusionPipeline";
  EXPECT_EQ(refusal(one_net(), request),
            "control_image: StableDiffusionPipeline does not take it; leave --control-image out");
  request = {.prompt = {"a"},
             .image = {input("photo.png")},
             .mask_image = {input("mask_photo.png")},
             .padding_mask_crop = 8,
             .control_image = {input("square.png")},
             .num_inference_steps = 2,
             .height = 64,
             .width = 64};
  EXPECT_NE(refusal(one_net(), request).find("has 64x64 pixels and the picture 96x72"), std::string::npos);
  const test::TempFolder folder;
  weights::save_tensors(folder / "l.safetensors", {{"latents", at::zeros({1, 4, 8, 8})}});
  request = kRequest;
  request.control_image = {InputPicture(folder / "l.safetensors")};
  EXPECT_NE(refusal(one_net(), request).find("holds latents"), std::string::npos);
}

TEST(ControlNet, TakesAPreprocessorForEach) {
  Request request = kRequest;
  request.control_image = {input("photo.png"), input("edges.png")};
  request.height = request.width = 64;
  request.control_preprocessor = {"canny:40:80", "none"};
  const Output mixed = two_nets()(request);
  request.control_preprocessor = {};
  request.control_image[0] = io::canny(input("photo.png").image(), {.low = 40, .high = 80});
  EXPECT_EQ(test::largest_pixel_difference(mixed.images[0], two_nets()(request).images[0]), 0);
  request.control_preprocessor = {"canny", "none", "none"};
  EXPECT_NE(refusal(two_nets(), request).find("3 given for 2 ControlNets"), std::string::npos);
  request.control_preprocessor = {"inpaint"};
  EXPECT_NE(refusal(two_nets(), request).find("--mask-image"), std::string::npos);
  for (const char* text :
       {"Canny", "canny:", "canny:1", "canny:1:", "canny:-1:2", "canny:1:2041", "canny:1:2:3", ""})
    EXPECT_NE(test::error_of<UsageError>([&] {
                pipelines::ControlPreprocessor::parse(text);
              }).find("expected none, canny, canny:LOW:HIGH"),
              std::string::npos)
        << text;
}

TEST(ControlNet, OfAnotherModelIsRefused) {
  const auto refused = [&](const std::string& model, const std::string& net) {
    return test::error_of<CheckpointError>([&] { load(model, {net}); });
  };
  EXPECT_NE(refused("sd15", "controlnet-sdxl")
                .find("\"cross_attention_dim\" is [80,80], but the UNet's is [32,32]"),
            std::string::npos);
  EXPECT_NE(refused("sdxl", "controlnet-sd15-a").find("\"cross_attention_dim\" is [32,32]"),
            std::string::npos);
  EXPECT_NE(refused("sd15", "sd15/unet").find("is a UNet2DConditionModel; expected a ControlNetModel"),
            std::string::npos);
  EXPECT_NE(refused("sd15", "sd15").find("is a pipeline's folder"), std::string::npos);
  EXPECT_NE(refused("sd15", "sd15/tokenizer").find("has no config.json"), std::string::npos);
  EXPECT_NE(refused("sd15", "controlnet-sd15-a/config.json").find("is a file"), std::string::npos);
  EXPECT_NE(test::error_of<UsageError>([&] { load("sd15", {"none"}); }).find("there is no such folder"),
            std::string::npos);
  EXPECT_EQ(test::error_of<UsageError>([&] { load("flux-schnell", {"controlnet-sd15-a"}); }),
            "controlnet: FluxPipeline takes none yet; leave --controlnet out");
}

TEST(ControlNet, WithADamagedConfigIsRefused) {
  const std::vector<std::pair<const char*, Json>> damages = {
      {"conditioning_channels", 4},
      {"conditioning_embedding_out_channels", Json::array()},
      {"conditioning_embedding_out_channels", {8, 16}},
      {"conditioning_embedding_out_channels", {8, 8, 16, 1000000000}},
      {"controlnet_conditioning_channel_order", "gbr"},
      {"global_pool_conditions", "yes"},
      {"layers_per_block", 2},
      {"block_out_channels", {16, 64}},
      {"in_channels", 9},
      {"class_embed_type", "timestep"},
      {"encoder_hid_dim", 8},
      {"mid_block_type", nullptr},
      {"_class_name", "ControlNetUnionModel"}};
  for (const auto& [key, value] : damages) {
    const test::TempFolder folder;
    copy_net(folder / "net", "controlnet-sd15-a", key, value);
    const auto message = test::error_of<CheckpointError>([&] {
      DiffusionPipeline::from_pretrained(checkpoint("sd15"), {.controlnet = {(folder / "net").string()}});
    });
    EXPECT_FALSE(message.empty()) << key;
  }
}

TEST(ControlNet, IsKnownByItsContent) {
  const Json a = loading::controlnet_parameters(checkpoint("controlnet-sd15-a") + "\n");
  EXPECT_EQ(a[0]["name"], "controlnet-sd15-a");
  const test::TempFolder folder;
  copy_net(folder / "controlnet-sd15-a", "controlnet-sd15-a", "global_pool_conditions", true);
  EXPECT_NE(loading::controlnet_parameters((folder / "controlnet-sd15-a").string())[0]["hash"], a[0]["hash"]);
  EXPECT_EQ(loading::controlnet_parameters(checkpoint("controlnet-sd15-a"))[0], a[0]);
}

// A checkpoint that was saved with its ControlNet.
TEST(ControlNet, MayBeTheCheckpointsOwn) {
  const test::TempFolder folder;
  const fs::path model = folder / "model";
  fs::copy(checkpoint("sd15"), model, fs::copy_options::recursive);
  fs::copy(checkpoint("controlnet-sd15-a"), model / "controlnet");
  fs::permissions(model / "model_index.json", fs::perms::owner_write, fs::perm_options::add);
  Json index = load_json(model / "model_index.json");
  index["_class_name"] = "StableDiffusionControlNetPipeline";
  index["controlnet"] = {"diffusers", "ControlNetModel"};
  std::ofstream(model / "model_index.json") << index;
  Request request = kRequest;
  request.height = request.width = 64;
  EXPECT_EQ(
      test::largest_pixel_difference(DiffusionPipeline::from_pretrained(model.string())(request).images[0],
                                     one_net()(request).images[0]),
      0);
}

TEST(ControlNet, IsPlacedAsOtherModelsAre) {
  Request request = kRequest;
  request.height = request.width = 64;
  const auto expected = one_net()(request);
  for (const char* place : {"cpu", "disk"}) {
    const placement::DeviceMap map = {{"text_encoder", placement::Place::cpu()},
                                      {"unet", placement::Place::cpu()},
                                      {"vae", placement::Place::cpu()},
                                      {"controlnet", placement::Place::parse(place)}};
    const auto pipeline = load("sd15", {"controlnet-sd15-a"}, {.device_map = map});
    EXPECT_EQ(test::largest_pixel_difference(pipeline(request).images[0], expected.images[0]), 0) << place;
  }
  const auto planned = load("sd15", {"controlnet-sd15-a"}, {.device_map = "auto"});
  EXPECT_NE(planned.hf_device_map().to_text().find("controlnet"), std::string::npos);
}

TEST(ControlNet, CountsInMemory) {
  const auto bytes_of = [](const DiffusionPipeline& pipeline, const Request& request) {
    std::map<std::string, int64_t> stored;
    for (const auto& need : *pipeline.needs_of(request)) stored[need.name] = need.stored_bytes;
    return stored;
  };
  auto stored = bytes_of(two_nets(), kRequest);
  EXPECT_GT(stored["controlnet"], 100'000);
  EXPECT_EQ(stored["controlnet"], stored["controlnet_1"]);
}

}  // namespace
}  // namespace diffract::families
