#include "diffract/jobs/job.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"

namespace diffract::jobs {
namespace {

TEST(PlanJob, NumbersPicturesByPromptThenImage) {
  const auto batches = plan_job({{.prompt = {"a", "b"}, .num_images_per_prompt = 2}}, 10, 3);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].request.prompt, (std::vector<std::string>{"a", "a", "b"}));
  EXPECT_EQ(batches[0].request.seeds, (std::vector<uint64_t>{10, 11, 12}));
  EXPECT_EQ(batches[0].request.num_images_per_prompt, 1);
  EXPECT_EQ(batches[1].images[0].index, 3u);
  EXPECT_EQ(batches[1].images[0].seed, 13u);
}

TEST(PlanJob, KeepsEachPromptsNegativePrompt) {
  const auto batches = plan_job({{.prompt = {"a", "b"}, .negative_prompt = {"x", "y"}}}, 0, 4);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].request.negative_prompt, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(batches[0].images[1].negative_prompt, "y");
}

TEST(PlanJob, StartsABatchWhereTheSettingsChange) {
  const auto batches = plan_job({{.prompt = {"a"}},
                                 {.prompt = {"b"}, .height = 256},
                                 {.prompt = {"c"}, .negative_prompt = {"x"}, .height = 256}},
                                0, 8);
  EXPECT_EQ(batches.size(), 3u);
}

TEST(PlanJob, TakesAnEntrysOwnSeed) {
  const auto batches =
      plan_job({{.prompt = {"a"}}, {.prompt = {"b"}, .num_images_per_prompt = 2, .seed = 100}}, 5, 1);
  EXPECT_EQ(batches[0].images[0].seed, 5u);
  EXPECT_EQ(batches[1].images[0].seed, 100u);
  EXPECT_EQ(batches[2].images[0].seed, 101u);
  EXPECT_EQ(batches[2].images[0].index, 2u);
}

TEST(PlanJob, ComputesPicturesOfOneSizeTogether) {
  const auto picture = [](uint32_t width, uint8_t value) -> pipelines::InputPicture {
    return io::Image{.width = width, .height = 8, .pixels = std::vector<uint8_t>(size_t{24} * width, value)};
  };
  const auto batches =
      plan_job({{.prompt = {"a", "b", "c"}, .image = {picture(8, 1), picture(8, 2), picture(16, 3)}},
                {.prompt = {"d"}, .image = {picture(16, 4)}},
                {.prompt = {"e"}}},
               0, 8);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].request.image.size(), 2u);
  EXPECT_EQ(batches[0].request.image[1].hash(), picture(8, 2).hash());
  EXPECT_EQ(batches[1].request.prompt, (std::vector<std::string>{"c", "d"}));
  EXPECT_TRUE(batches[2].request.image.empty());
}

TEST(PlanJob, JoinsBatchesOfOneKind) {
  const auto picture = [](uint32_t width) -> pipelines::InputPicture {
    return io::Image{.width = width, .height = 8, .pixels = std::vector<uint8_t>(size_t{24} * width)};
  };
  std::vector<pipelines::Request> requests = {{.prompt = {"a", "b", "c"},
                                               .negative_prompt = {"x", "y", "z"},
                                               .image = {picture(8), picture(8), picture(16)}}};
  const auto whole = plan_job(requests, 3, 8), ones = plan_job(requests, 3, 1);
  ASSERT_EQ(ones.size(), 3u);
  EXPECT_EQ(kind_of(ones[0]), kind_of(ones[1]));
  EXPECT_NE(kind_of(ones[0]), kind_of(ones[2]));  // another size
  JobBatch joined = ones[0];
  append(joined, ones[1]);
  EXPECT_EQ(joined.request.prompt, whole[0].request.prompt);
  EXPECT_EQ(joined.request.negative_prompt, whole[0].request.negative_prompt);
  EXPECT_EQ(joined.request.seeds, whole[0].request.seeds);
  EXPECT_EQ(joined.request.image.size(), 2u);
  EXPECT_EQ(joined.images[1].index, 1u);
}

TEST(PlanJob, GivesEachPictureItsControlPictures) {
  const auto picture = [](uint8_t value) -> pipelines::InputPicture {
    return io::Image{.width = 8, .height = 8, .pixels = std::vector<uint8_t>(192, value)};
  };
  const auto hashes = [](const std::vector<JobBatch>& batches) {
    std::vector<std::string> all;
    for (const auto& one : batches.at(0).request.control_image) all.push_back(one.hash());
    return all;
  };
  const std::string a = picture(1).hash(), b = picture(2).hash();
  const pipelines::Request request{.prompt = {"a", "b"}, .control_image = {picture(1), picture(2)}};
  // Of one ControlNet they are one for each prompt, of two one for each ControlNet.
  EXPECT_EQ(hashes(plan_job({request}, 0, 8, 1)), (std::vector<std::string>{a, b}));
  EXPECT_EQ(hashes(plan_job({request}, 0, 8, 2)), (std::vector<std::string>{a, b, a, b}));
  EXPECT_THROW(plan_job({request}, 0, 8, 3), UsageError);
  const pipelines::Request plain{.prompt = {"c"}};
  EXPECT_EQ(plan_job({request, plain}, 0, 8, 1).size(), 2u);
}

TEST(PlanJob, RefusesJobsThatMakeNoSense) {
  EXPECT_THROW(plan_job({}, 0, 1), UsageError);
  EXPECT_THROW(plan_job({{.prompt = {}}}, 0, 1), UsageError);
  EXPECT_THROW(plan_job({{.prompt = {"a"}}}, 0, 0), UsageError);
  EXPECT_THROW(plan_job({{.prompt = {"a"}, .num_images_per_prompt = 0}}, 0, 1), UsageError);
  EXPECT_THROW(plan_job({{.prompt = {"a", "b", "c"}, .negative_prompt = {"x", "y"}}}, 0, 1), UsageError);
}

}  // namespace
}  // namespace diffract::jobs
