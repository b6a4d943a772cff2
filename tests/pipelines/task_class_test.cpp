// Which pipeline class a request asks for, and what each refuses by name.
#include "diffract/pipelines/task_class.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/pipelines/request_checks.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

using loading::TaskKind;

constexpr std::string_view kImg2ImgTakes[] = {"image", "strength"};
constexpr std::string_view kInpaintTakes[] = {"image", "mask_image", "strength", "padding_mask_crop"};
constexpr loading::TaskClass kTasks[] = {
    {.class_name = "AnImg2ImgPipeline",
     .kind = TaskKind::image_to_image,
     .takes = kImg2ImgTakes,
     .keeps_picture_size = true},
    {.class_name = "AnInpaintPipeline", .kind = TaskKind::inpainting, .takes = kInpaintTakes}};
constexpr loading::FamilyFacts kFamily = {.class_name = "APipeline",
                                          .models = "A",
                                          .num_inference_steps = 1,
                                          .guidance_scale = 1,
                                          .sample_size = 8,
                                          .latents_a_token = 1,
                                          .lifetime = placement::Lifetime::whole_job,
                                          .path = schedulers::Path::diffusion,
                                          .tasks = kTasks};

InputPicture picture(uint32_t width, uint32_t height, uint8_t value = 255) {
  return io::Image{
      .width = width, .height = height, .pixels = std::vector<uint8_t>(size_t{3} * width * height, value)};
}

const Request kPlain = {.prompt = {"a dog"}};
const Request kImage = {.prompt = {"a dog"}, .image = {picture(20, 17)}};
const Request kMask = {.prompt = {"a dog"}, .image = {picture(20, 17)}, .mask_image = {picture(20, 17)}};

std::string class_of(const Request& request) {
  return std::string(task_class_of(request, kFamily).class_name);
}
std::string refusal(const Request& request) {
  return test::error_of<UsageError>([&] { check_request(request, kFamily); });
}
Request with(Request request, const auto& change) {
  change(request);
  return request;
}

TEST(TaskClass, FollowsFromTheInputs) {
  EXPECT_EQ(class_of(kPlain), "APipeline");
  EXPECT_EQ(class_of(kImage), "AnImg2ImgPipeline");
  EXPECT_EQ(class_of(kMask), "AnInpaintPipeline");
  EXPECT_EQ(class_of(with(kPlain, [](Request& r) { r.mask_image = {picture(8, 8)}; })), "AnInpaintPipeline");
}

TEST(TaskClass, MayBeNamed) {
  EXPECT_EQ(class_of(with(kImage, [](Request& r) { r.pipeline = "AnInpaintPipeline"; })),
            "AnInpaintPipeline");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.pipeline = "AnotherPipeline"; })),
            "pipeline AnotherPipeline: this model has no such class; it has APipeline, AnImg2ImgPipeline, "
            "AnInpaintPipeline");
}

TEST(TaskClass, RefusesByNameWhatItDoesNotTake) {
  EXPECT_EQ(refusal(kImage), "<no error>");
  EXPECT_EQ(refusal(kMask), "<no error>");
  EXPECT_EQ(refusal(with(kPlain, [](Request& r) { r.strength = 0.5; })),
            "strength: APipeline does not take it; leave --strength out");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.height = 64; })),
            "height: AnImg2ImgPipeline does not take it; leave --height out");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.padding_mask_crop = 4; })),
            "padding_mask_crop: AnImg2ImgPipeline does not take it; leave --padding-mask-crop out");
  EXPECT_EQ(refusal(with(kMask, [](Request& r) { r.pipeline = "AnImg2ImgPipeline"; })),
            "mask_image: AnImg2ImgPipeline does not take it; leave --mask-image out");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.pipeline = "APipeline"; })),
            "image: APipeline does not take it; leave --image out");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.strength = 1.5; })), "strength 1.5: expected 0 to 1");
}

TEST(TaskClass, SaysWhatIsMissing) {
  EXPECT_EQ(refusal(with(kPlain, [](Request& r) { r.pipeline = "AnImg2ImgPipeline"; })),
            "image: AnImg2ImgPipeline begins with a picture; give one with --image");
  EXPECT_EQ(refusal(with(kPlain, [](Request& r) { r.mask_image = {picture(8, 8)}; })),
            "image: AnInpaintPipeline begins with a picture; give one with --image");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.pipeline = "AnInpaintPipeline"; })),
            "mask_image: AnInpaintPipeline needs a mask, white where it paints; give one with --mask-image");
  EXPECT_EQ(refusal(with(kImage, [](Request& r) { r.image.push_back(r.image[0]); })),
            "image: 2 given for 1 prompts; give one for all, or one each");
}

TEST(TaskClass, WithACropTakesMasksOfThePicturesSize) {
  const Request crop = with(kMask, [](Request& r) { r.padding_mask_crop = 4; });
  EXPECT_EQ(refusal(crop), "<no error>");
  EXPECT_NE(refusal(with(crop, [](Request& r) { r.mask_image = {picture(20, 16)}; }))
                .find("takes masks of the picture's size"),
            std::string::npos);
  EXPECT_NE(
      refusal(with(crop, [](Request& r) { r.output_type = OutputType::latent; })).find("padding_mask_crop"),
      std::string::npos);
}

TEST(ComputedSize, IsThePicturesOwnCutToWholeLatents) {
  const auto size = [](const Request& request) {
    const auto found = computed_size(request, {.height = 64, .width = 64}, kFamily, 8);
    return std::pair(found.width, found.height);
  };
  EXPECT_EQ(size(kImage), std::pair(int64_t{16}, int64_t{16}));
  EXPECT_EQ(size(kMask), std::pair(int64_t{64}, int64_t{64}));
  EXPECT_EQ(size(kPlain), std::pair(int64_t{64}, int64_t{64}));
  EXPECT_THROW(size(with(kImage, [](Request& r) { r.image = {picture(7, 40)}; })), UsageError);
  EXPECT_THROW(size(with(kImage, [](Request& r) { r.image = {picture(20'000, 8)}; })), UsageError);
  EXPECT_THROW(size(with(kImage, [](Request& r) { r.image.push_back(picture(40, 17)); })), UsageError);
}

}  // namespace
}  // namespace diffract::pipelines
