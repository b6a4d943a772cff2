#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/placement/planner.h"
#include "tests/placement/model_for_test.h"

namespace diffract::placement {
namespace {

using test::buffer;
using test::leaf;
using test::model_for_test;

const ModuleTree kModel{.root = model_for_test()};
const ModuleTree kThree{
    .root = {.class_name = "Sequential",
             .children = {model_for_test("0"), model_for_test("1"), model_for_test("2")}}};

// accelerate's test_infer_auto_device_map.
TEST(InferAutoDeviceMap, FillsDevicesInTurn) {
  EXPECT_EQ(infer_auto_device_map(kModel, {{0, 200}, {1, 200}}, {}),
            (DeviceMap{{"linear1", 0}, {"batchnorm", 1}, {"linear2", 1}}));
  // Not on device 0, which keeps room for the largest layer.
  EXPECT_EQ(infer_auto_device_map(kModel, {{0, 200}, {1, 172}, {2, 200}}, {}),
            (DeviceMap{{"linear1", 0}, {"batchnorm", 1}, {"linear2", 1}}));
  EXPECT_EQ(infer_auto_device_map(kThree, {{0, 500}, {1, 500}}, {}),
            (DeviceMap{{"0", 0}, {"1.linear1", 0}, {"1.batchnorm", 0}, {"1.linear2", 1}, {"2", 1}}));
}

TEST(InferAutoDeviceMap, KeepsBlocksWhole) {
  EXPECT_EQ(
      infer_auto_device_map(kThree, {{0, 500}, {1, 500}}, {.no_split_module_classes = {"ModelForTest"}}),
      (DeviceMap{{"0", 0}, {"1", 1}, {"2", 1}}));
}

TEST(InferAutoDeviceMap, SpillsToTheCpuAndThenToDisk) {
  const ModuleTree four{
      .root = {.class_name = "Model",
               .children = {leaf("a", {48}), leaf("b", {48}), leaf("c", {48}), leaf("d", {48})}}};
  EXPECT_EQ(infer_auto_device_map(four, {{0, 96}, {"cpu", 96}}, {}),
            (DeviceMap{{"a", 0}, {"b", "cpu"}, {"c", "disk"}, {"d", "disk"}}));
  EXPECT_EQ(infer_auto_device_map(kModel, {}, {}), (DeviceMap{{"", "disk"}}));
}

// accelerate's test_infer_auto_device_map_with_tied_weights.
TEST(InferAutoDeviceMap, TiedWeightsStayTogether) {
  const ModuleTree tied{.root = kThree.root, .tied = {{"0.linear2.p0", "2.linear2.p0"}}};
  const DeviceMap map = infer_auto_device_map(tied, {{0, 500}, {1, 500}}, {});
  EXPECT_EQ(map.at("0.linear2.p0"), map.at("2.linear2.p0"));
}

// Below, accelerate is wrong; docs/differences.md names each.

// It leaves the buffers of a split module out of the map, which check_device_map then refuses.
TEST(InferAutoDeviceMap, PlacesTheBuffersOfAModuleThatIsSplit) {
  Module parent{.name = "parent", .class_name = "Parent", .children = {leaf("a", {100}), leaf("b", {100})}};
  parent.tensors.push_back(buffer("table", 40));
  const ModuleTree tree{.root = {.class_name = "Model", .children = {parent}}};
  const DeviceMap map = infer_auto_device_map(tree, {{0, 200}, {1, 200}}, {});
  EXPECT_EQ(map, (DeviceMap{{"parent.a", 0}, {"parent.b", 0}, {"parent.table", 1}}));
  EXPECT_TRUE(check_device_map(tree, map).empty());
}

// IndexError: it looks for a tied parameter inside modules only.
TEST(InferAutoDeviceMap, TiesAParameterThatAModuleHoldsBesideItsChildren) {
  Module parent{.name = "parent",
                .class_name = "Parent",
                .tensors = leaf("", {100}).tensors,
                .children = {leaf("a", {400}), leaf("b", {400})}};
  const ModuleTree tree{.root = {.class_name = "Model", .children = {leaf("embed", {100}), parent}},
                        .tied = {{"embed.p0", "parent.p0"}}};
  const DeviceMap map = infer_auto_device_map(tree, {{0, 600}, {1, 600}}, {});
  EXPECT_EQ(map.at("embed.p0"), map.at("parent.p0"));
  EXPECT_EQ(map.at("embed"), Place(0));
  check_device_map(tree, map);
}

// IndexError: named_children gives the same module once, the tied names twice.
TEST(InferAutoDeviceMap, TakesTheSameModuleUnderTwoNames) {
  const ModuleTree tree{
      .root = {.class_name = "Model",
               .children = {leaf("a", {100}), leaf("b", {200}), leaf("again", {100}), leaf("c", {200})}},
      .tied = {{"a.p0", "again.p0"}}};
  EXPECT_EQ(infer_auto_device_map(tree, {{0, 450}, {1, 450}}, {}),
            (DeviceMap{{"a", 0}, {"again", 0}, {"b", 1}, {"c", 1}}));
}

// It looks for tied names as substrings: "x." is found in "ax.p0.", so that c goes with x and not with ax.
TEST(InferAutoDeviceMap, TellsNamesApartThatEndAlike) {
  const ModuleTree tree{
      .root = {.class_name = "Model",
               .children = {leaf("x", {40}), leaf("ax", {40}), leaf("b", {40}), leaf("c", {40})}},
      .tied = {{"ax.p0", "c.p0"}}};
  EXPECT_EQ(infer_auto_device_map(tree, {{0, 80}, {1, 200}}, {}),
            (DeviceMap{{"x", 0}, {"ax", 1}, {"c", 1}, {"b", 1}}));
}

// Two ties between the same modules are counted twice there, and push out what would fit.
TEST(InferAutoDeviceMap, CountsAModuleOnceHoweverManyTiesItHas) {
  const ModuleTree tree{
      .root = {.class_name = "Model", .children = {leaf("a", {100, 100}), leaf("b", {60, 100, 100})}},
      .tied = {{"a.p0", "b.p1"}, {"a.p1", "b.p2"}}};
  EXPECT_EQ(compute_module_sizes(tree).total(), 260);
  EXPECT_EQ(infer_auto_device_map(tree, {{0, 0}, {1, 260}}, {}), (DeviceMap{{"", 1}}));
}

// A chain of ties is followed to its end: there the third module is looked for after it was placed.
TEST(InferAutoDeviceMap, FollowsTiesFromModuleToModule) {
  const ModuleTree tree{.root = {.class_name = "Model",
                                 .children = {leaf("a", {40}), leaf("b", {40, 20}), leaf("c", {20}),
                                              leaf("d", {40}), leaf("e", {40})}},
                        .tied = {{"a.p0", "b.p0"}, {"b.p1", "c.p0"}}};
  EXPECT_EQ(infer_auto_device_map(tree, {{0, 100}, {1, 100}}, {}),
            (DeviceMap{{"a", 0}, {"b", 0}, {"c", 0}, {"d", 1}, {"e", 1}}));
}

// A budget for the disk means nothing there.
TEST(InferAutoDeviceMap, KeepsTheDisksBudget) {
  EXPECT_EQ(infer_auto_device_map(kModel, {{"disk", 300}}, {}), (DeviceMap{{"", "disk"}}));
  EXPECT_THROW(infer_auto_device_map(kModel, {{"disk", 200}}, {}), MemoryError);
}

// A bool takes an eighth of a byte there, and a whole one in torch.
TEST(InferAutoDeviceMap, ABoolTakesAByte) {
  Module module = leaf("mask", {});
  module.tensors.push_back(
      {.name = "mask", .elements = 64, .bytes = 64, .is_floating = false, .is_buffer = true});
  const ModuleTree tree{.root = {.class_name = "Model", .children = {module}}};
  EXPECT_EQ(compute_module_sizes(tree, {.dtype_bytes = 2}).total(), 64);
}

TEST(BufferWarning, SpeaksWhenBuffersOfOffloadedModulesFitNowhere) {
  const DeviceMap map{{"linear1", 0}, {"batchnorm", "cpu"}, {"linear2", "cpu"}};
  EXPECT_TRUE(buffer_warning(kModel, map, {{0, 200}}, {}).empty());
  EXPECT_FALSE(buffer_warning(kModel, map, {{0, 70}}, {}).empty());  // 64 of weights, 40 of buffers
  EXPECT_TRUE(buffer_warning(kModel, map, {{0, 70}}, {}, /*offload_buffers=*/true).empty());
  EXPECT_TRUE(buffer_warning(kModel, {{"", "cpu"}}, {{"cpu", 1000}}, {}).empty());
}

}  // namespace
}  // namespace diffract::placement
