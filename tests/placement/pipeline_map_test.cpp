#include "diffract/placement/pipeline_map.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/placement/model_for_test.h"

namespace diffract::placement {
namespace {

constexpr int64_t kGB = 1'000'000'000;

PlannedComponent component(const std::string& name, int64_t bytes, int stage = 0) {
  return {.name = name,
          .tree = {.root = {.class_name = "Model", .children = {test::leaf("a", {bytes})}}},
          .stage = stage};
}

// Bytes of FLUX.1-dev's and Stable Diffusion 1.5's components.
const std::vector<PlannedComponent> kFlux = {
    component("text_encoder", 246'121'584), component("text_encoder_2", 9'524'621'312),
    component("transformer", 23'802'816'640), component("vae", 167'639'110)};
const std::vector<PlannedComponent> kEncoders = {kFlux[0], kFlux[1]};
const std::vector<PlannedComponent> kSd15 = {
    component("vae", 167'307'366), component("text_encoder", 246'121'584), component("unet", 1'719'041'288),
    component("safety_checker", 607'985'458)};

// What diffusers 0.42 decides.
TEST(BalanceComponents, GivesEachItsDeviceAsDiffusersDoes) {
  EXPECT_EQ(balance_components(kEncoders, {{0, "16GB"}, {1, "16GB"}}),
            (DeviceMap{{"text_encoder_2", 0}, {"text_encoder", 1}}));
  EXPECT_EQ(balance_components(kFlux, {{0, "24GB"}, {1, "24GB"}, {"cpu", "64GB"}}),
            (DeviceMap{{"transformer", 0}, {"text_encoder_2", 1}, {"text_encoder", 1}, {"vae", 0}}));
  for (const char* size : {"16GB", "22GB"})
    EXPECT_EQ(balance_components(kFlux, {{0, size}, {1, size}}),
              (DeviceMap{{"transformer", "cpu"}, {"text_encoder_2", 0}, {"text_encoder", 1}, {"vae", 1}}));
  EXPECT_EQ(balance_components(kFlux, {{0, "16GB"}, {1, "16GB"}, {2, "24GB"}}).at("transformer"), Place(2));
  EXPECT_EQ(balance_components(kSd15, {{0, "1GB"}, {1, "1GB"}}),
            (DeviceMap{{"unet", "cpu"}, {"safety_checker", 0}, {"text_encoder", 1}, {"vae", 1}}));
  EXPECT_EQ(balance_components(kSd15, {{0, "24GB"}, {1, "24GB"}}),
            (DeviceMap{{"unet", 0}, {"vae", 0}, {"safety_checker", 1}, {"text_encoder", 1}}));
}

// diffusers lists the last of them only; the others are lost.
TEST(BalanceComponents, LosesNoComponentThatFitsNowhere) {
  const DeviceMap map = balance_components(kFlux, {{0, "9GB"}, {1, "9GB"}});
  EXPECT_EQ(map.at("transformer"), Place::cpu());
  EXPECT_EQ(map.at("text_encoder_2"), Place::cpu());
  EXPECT_EQ(map.size(), kFlux.size());
}

TEST(BalanceComponents, KeepsTheCpusBudgetToo) {
  const DeviceMap map = balance_components(kFlux, {{0, "9GB"}, {"cpu", "12GB"}});
  EXPECT_EQ(map.at("transformer"), Place::disk());
  EXPECT_EQ(map.at("text_encoder_2"), Place::cpu());
  EXPECT_EQ(map.at("vae"), Place(0));
}

// Ten blocks of one kind.
PlannedComponent blocks(const std::string& name, int64_t block_bytes, int64_t runs,
                        int64_t working_bytes = 0) {
  PlannedComponent c{.name = name,
                     .tree = {.root = {.class_name = "Model"}},
                     .options = {.no_split_module_classes = {"Block"}},
                     .working_bytes = working_bytes,
                     .runs = runs};
  for (int i = 0; i < 10; ++i)
    c.tree.root.children.push_back(test::leaf(std::to_string(i), {block_bytes}, "Block"));
  return c;
}

int64_t bytes_on(const std::vector<PlannedComponent>& components, const DeviceMap& map, Place place) {
  const auto stages = uses_of(components, map, Lifetime::whole_job);
  for (const auto& use : stages.front())
    if (use.place == place) return use.weights;
  return 0;
}

TEST(PlanPipelineMap, SharesOutEquallyWhereAllFits) {
  const std::vector<PlannedComponent> two = {blocks("encoder", kGB / 2, 1), blocks("denoiser", kGB, 20)};
  const DeviceMap map =
      plan_pipeline_map(two, Strategy::automatic, {{0, "16GB"}, {1, "16GB"}}, Lifetime::whole_job);
  EXPECT_EQ(map.places(), (std::vector<Place>{0, 1}));
  EXPECT_NEAR(bytes_on(two, map, 0), 7.5e9, 1.5e9);
}

TEST(PlanPipelineMap, WhatRunsMostOftenStaysOnTheAccelerators) {
  const std::vector<PlannedComponent> two = {blocks("encoder", kGB, 1), blocks("denoiser", kGB, 20)};
  const MaxMemory memory{{0, "13GB"}, {"cpu", "20GB"}};
  const DeviceMap map = plan_pipeline_map(two, Strategy::automatic, memory, Lifetime::whole_job);
  EXPECT_EQ(map.below("denoiser"), (DeviceMap{{"", 0}}));
  EXPECT_EQ(bytes_on(two, map, "cpu"), 9 * kGB);
  // In the components' own order the encoder takes the device first.
  EXPECT_EQ(plan_pipeline_map(two, Strategy::sequential, memory, Lifetime::whole_job).below("encoder"),
            (DeviceMap{{"", 0}}));
}

TEST(PlanPipelineMap, AStageHasTheDevicesToItself) {
  std::vector<PlannedComponent> two = {blocks("encoder", kGB, 1), blocks("denoiser", kGB, 20)};
  two[1].stage = 1;
  const MaxMemory memory{{0, "10GB"}, {"cpu", "20GB"}};
  EXPECT_EQ(plan_pipeline_map(two, Strategy::automatic, memory, Lifetime::stage),
            (DeviceMap{{"encoder", 0}, {"denoiser", 0}}));
}

TEST(PlanPipelineMap, CountsWhatComputingTakes) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20, /*working_bytes=*/3 * kGB)};
  // 13 GB hold the weights and the work; with 12 something must go, and room for two blocks in transit.
  EXPECT_EQ(
      plan_pipeline_map(one, Strategy::automatic, {{0, 13 * kGB}, {"cpu", 20 * kGB}}, Lifetime::whole_job),
      (DeviceMap{{"denoiser", 0}}));
  const DeviceMap map = plan_pipeline_map(one, Strategy::automatic, {{0, 13 * kGB - 1}, {"cpu", 20 * kGB}},
                                          Lifetime::whole_job);
  EXPECT_EQ(bytes_on(one, map, 0), 7 * kGB);
  EXPECT_EQ(bytes_on(one, map, "cpu"), 3 * kGB);
}

TEST(PlanPipelineMap, SaysWhatIsMissing) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20, /*working_bytes=*/3 * kGB)};
  try {
    plan_pipeline_map(one, Strategy::automatic, {{0, 4 * kGB}, {"cpu", 20 * kGB}}, Lifetime::whole_job);
    FAIL();
  } catch (const MemoryError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("denoiser: needs 5.00 GB on 0"), std::string::npos) << message;
    EXPECT_NE(message.find("its budget is 4.00 GB"), std::string::npos) << message;
  }
}

TEST(PlanPipelineMap, AnAcceleratorTooSmallToComputeIsLeftOut) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20, /*working_bytes=*/3 * kGB)};
  const DeviceMap map = plan_pipeline_map(
      one, Strategy::automatic, {{0, 4 * kGB}, {1, 8 * kGB}, {"cpu", 20 * kGB}}, Lifetime::whole_job);
  EXPECT_EQ(map.places(), (std::vector<Place>{1, "cpu"}));
  check_budgets(one, map, {{0, 4 * kGB}, {1, 8 * kGB}, {"cpu", 20 * kGB}}, Lifetime::whole_job);
}

TEST(PlanPipelineMap, ReadsFromDiskPassThroughTheCpu) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20)};
  const MaxMemory memory{{0, 4 * kGB}, {"cpu", 5 * kGB}};
  const DeviceMap map = plan_pipeline_map(one, Strategy::automatic, memory, Lifetime::whole_job);
  EXPECT_EQ(bytes_on(one, map, 0), 2 * kGB);
  EXPECT_EQ(bytes_on(one, map, "cpu"), 3 * kGB);
  EXPECT_EQ(bytes_on(one, map, "disk"), 5 * kGB);
}

// Ten blocks in the order in which they compute: K is on the place, . is not.
std::string kept_on(const DeviceMap& map, const std::string& name, Place place) {
  std::string row;
  for (int i = 0; i < 10; ++i) row += map.at(fmt::format("{}.{}", name, i)) == place ? 'K' : '.';
  return row;
}

TEST(PlanPipelineMap, WhatStaysLiesAmongWhatIsBrought) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20)};
  const MaxMemory disk{{"cpu", 5 * kGB}}, both{{0, 4 * kGB}, {"cpu", 5 * kGB}};
  const auto from_disk = plan_pipeline_map(one, Strategy::automatic, disk, Lifetime::whole_job);
  EXPECT_EQ(kept_on(from_disk, "denoiser", "cpu"), ".K...K..K.");
  const auto from_both = plan_pipeline_map(one, Strategy::automatic, both, Lifetime::whole_job);
  EXPECT_EQ(kept_on(from_both, "denoiser", 0), "..K....K..");
  EXPECT_EQ(kept_on(from_both, "denoiser", "cpu"), ".K...K..K.");
  // A map in the components' order stays in it.
  const auto in_order = plan_pipeline_map(one, Strategy::sequential, disk, Lifetime::whole_job);
  EXPECT_EQ(kept_on(in_order, "denoiser", "cpu"), "KKK.......");
}

TEST(CheckBudgets, HoldsForAMapOfTheUsersToo) {
  const std::vector<PlannedComponent> one = {blocks("denoiser", kGB, 20)};
  check_budgets(one, {{"denoiser", 0}}, {{0, 10 * kGB}}, Lifetime::whole_job);
  EXPECT_THROW(check_budgets(one, {{"denoiser", 0}}, {{0, 10 * kGB - 1}}, Lifetime::whole_job), MemoryError);
  EXPECT_THROW(check_budgets(one, {{"denoiser", 1}}, {{0, 10 * kGB}}, Lifetime::whole_job), MemoryError);
}

}  // namespace
}  // namespace diffract::placement
