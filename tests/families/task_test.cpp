// Requests that begin with pictures: what is shared, what is refused, what a batch is.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/images.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using pipelines::InputPicture;
using pipelines::Output;
using pipelines::Request;

InputPicture input(const std::string& name) { return test::data("reference/inputs/" + name); }

DiffusionPipeline load(const std::string& checkpoint, loading::LoadOptions options = {}) {
  return DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/" + checkpoint).string(),
                                            options);
}
const DiffusionPipeline& tiny() {
  static const DiffusionPipeline pipeline = load("sd15");
  return pipeline;
}
const DiffusionPipeline& inpainting() {
  static const DiffusionPipeline pipeline = load("sd15-inpaint");
  return pipeline;
}

std::string refusal(const DiffusionPipeline& pipeline, const Request& request) {
  return test::error_of<UsageError>([&] { pipeline(request); });
}

// Image i of a request is what its prompt, its pictures and its seed give alone.
void expect_as_one_by_one(const DiffusionPipeline& pipeline, const Request& request) {
  const Output together = pipeline(request);
  ASSERT_EQ(together.images.size(), request.image_count());
  for (size_t i = 0; i < request.image_count(); ++i) {
    const size_t p = i / static_cast<size_t>(request.num_images_per_prompt);
    Request one = request;
    one.prompt = {request.prompt[p]};
    if (request.image.size() > 1) one.image = {request.image[p]};
    if (request.mask_image.size() > 1) one.mask_image = {request.mask_image[p]};
    one.num_images_per_prompt = 1;
    one.seeds = {request.seed.value_or(0) + i};
    EXPECT_LE(test::largest_pixel_difference(pipeline(one).images[0], together.images[i]), 1) << i;
  }
}

TEST(ImageToImage, OfSeveralPicturesIsThatOfEach) {
  expect_as_one_by_one(tiny(), {.prompt = {"a dog", "a cat", "a dog"},
                                .image = {input("odd.png"), input("odd_rgba.png"), input("odd.png")},
                                .strength = 0.6,
                                .num_inference_steps = 5,
                                .seed = 7,
                                .scheduler = "EulerAncestralDiscreteScheduler"});
  expect_as_one_by_one(tiny(), {.prompt = {"a dog", "a cat"},
                                .image = {input("square.png")},
                                .num_inference_steps = 4,
                                .num_images_per_prompt = 2});
}

TEST(Inpainting, OfSeveralPicturesIsThatOfEach) {
  for (const auto* pipeline : {&tiny(), &inpainting()})
    for (const double strength : {0.7, 1.0})
      expect_as_one_by_one(*pipeline, {.prompt = {"a dog", "a cat"},
                                       .image = {input("photo.png"), input("square.png")},
                                       .mask_image = {input("mask.png"), input("mask_odd.png")},
                                       .strength = strength,
                                       .num_inference_steps = 4,
                                       .height = 64,
                                       .width = 64,
                                       .scheduler = "EulerAncestralDiscreteScheduler"});
}

TEST(Inpainting, OfACropIsPutBackIntoEachPicture) {
  const Request request{.prompt = {"a dog", "a cat"},
                        .image = {input("photo.png"), input("square.png")},
                        .mask_image = {input("mask_photo.png"), input("mask.png")},
                        .padding_mask_crop = 8,
                        .num_inference_steps = 2,
                        .height = 64,
                        .width = 64};
  const Output output = tiny()(request);
  EXPECT_EQ(output.images[0].width, 96u);
  EXPECT_EQ(output.images[1].width, 64u);
  expect_as_one_by_one(tiny(), request);
}

TEST(ImageToImage, TakesLatentsOneRowAnImage) {
  const test::TempFolder folder;
  const Output begin = tiny()({.prompt = {"a dog"},
                               .num_inference_steps = 2,
                               .height = 48,
                               .width = 64,
                               .num_images_per_prompt = 2,
                               .output_type = pipelines::OutputType::latent});
  weights::save_tensors(folder / "l.safetensors", {{"latents", begin.latents}});
  Request request{.prompt = {"a cat"},
                  .image = {InputPicture(folder / "l.safetensors")},
                  .strength = 0.5,
                  .num_inference_steps = 4,
                  .num_images_per_prompt = 2,
                  .seed = 3};
  const Output both = tiny()(request);
  ASSERT_EQ(both.images.size(), 2u);
  EXPECT_EQ(both.images[0].height, 48u);
  request.image = {request.image[0].for_image(1)};
  request.num_images_per_prompt = 1;
  request.seed = 4;
  EXPECT_LE(test::largest_pixel_difference(tiny()(request).images[0], both.images[1]), 1);
  request.image = {InputPicture(folder / "l.safetensors")};
  EXPECT_NE(refusal(tiny(), request).find("has 2 latents for 1 images"), std::string::npos);
  request.mask_image = {input("mask.png")};
  request.num_images_per_prompt = 2;
  EXPECT_NE(refusal(tiny(), request).find("holds latents"), std::string::npos);
  weights::save_tensors(folder / "5.safetensors", {{"latents", at::zeros({1, 5, 6, 8})}});
  EXPECT_EQ(refusal(tiny(), {.prompt = {"a"}, .image = {InputPicture(folder / "5.safetensors")}}),
            "image: the latents have 5 channels; this model's have 4");
}

TEST(ImageToImage, NeedsAStep) {
  const Request request{
      .prompt = {"a dog"}, .image = {input("square.png")}, .strength = 0.3, .num_inference_steps = 3};
  EXPECT_EQ(refusal(tiny(), request), "strength 0.3: leaves no step of 3; take more of either");
}

TEST(ImageToImage, TakesPicturesOfAnySizeThatHoldsALatent) {
  const auto plain = [](uint32_t width, uint32_t height) {
    return io::Image{
        .width = width, .height = height, .pixels = std::vector<uint8_t>(size_t{3} * width * height, 90)};
  };
  const auto drawn = [&](uint32_t width, uint32_t height) {
    const io::Image image =
        tiny()({.prompt = {"a"}, .image = {plain(width, height)}, .num_inference_steps = 2}).images[0];
    return std::pair(image.width, image.height);
  };
  EXPECT_EQ(drawn(8, 8), std::pair(8u, 8u));
  EXPECT_EQ(drawn(8, 263), std::pair(8u, 256u));
  EXPECT_NE(refusal(tiny(), {.prompt = {"a"}, .image = {plain(7, 64)}}).find("7x64"), std::string::npos);
}

TEST(Inpainting, TakesMasksOfAnySize) {
  const auto mask = [](uint32_t width, uint32_t height) {
    return io::Image{.width = width,
                     .height = height,
                     .channels = 1,
                     .pixels = std::vector<uint8_t>(size_t{width} * height, 255)};
  };
  for (const auto& [width, height] : {std::pair(1u, 1u), std::pair(1u, 900u), std::pair(333u, 7u)})
    EXPECT_NO_THROW(tiny()({.prompt = {"a"},
                            .image = {input("tall.png")},
                            .mask_image = {mask(width, height)},
                            .num_inference_steps = 2,
                            .height = 32,
                            .width = 32}));
}

TEST(InpaintingCheckpoint, AsksForAMask) {
  const char* expected =
      "mask_image: this model paints parts of pictures anew, as its 9 input channels say; give a picture "
      "with "
      "--image and a mask with --mask-image";
  EXPECT_EQ(refusal(inpainting(), {.prompt = {"a dog"}, .height = 64, .width = 64}), expected);
  EXPECT_EQ(refusal(inpainting(), {.prompt = {"a dog"}, .image = {input("square.png")}}), expected);
}

// The encoder's memory counts, where nothing is decoded too.
TEST(ImageToImage, IsRefusedWhereItsEncoderDoesNotFit) {
  const auto pipeline = load("sd15", {.memory_check = {.free_host_bytes = [] { return uint64_t{4} << 20; }}});
  const io::Image large{.width = 1024, .height = 1024, .pixels = std::vector<uint8_t>(3 << 20, 9)};
  Request request{.prompt = {"a dog"}, .image = {large}, .output_type = pipelines::OutputType::latent};
  const auto message = test::error_of<MemoryError>([&] { pipeline(request); });
  EXPECT_NE(message.find("1024x1024"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::families
