#include "diffract/placement/device_map.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/placement/planner.h"
#include "tests/placement/model_for_test.h"

namespace diffract::placement {
namespace {

TEST(DeviceMap, TheLongestNameDecides) {
  const DeviceMap map{{"", 0}, {"blocks", 1}, {"blocks.3", "cpu"}, {"blocks.3.norm.weight", "disk"}};
  EXPECT_EQ(map.at("embed.weight"), Place(0));
  EXPECT_EQ(map.at("blocks.1.weight"), Place(1));
  EXPECT_EQ(map.at("blocks.30.weight"), Place(1));
  EXPECT_EQ(map.at("blocks.3.norm.bias"), Place::cpu());
  EXPECT_EQ(map.at("blocks.3.norm.weight"), Place::disk());
  EXPECT_EQ(map.main_place(), Place(0));
  EXPECT_EQ((DeviceMap{{"a", "cpu"}, {"b", "disk"}}).main_place(), Place::cpu());
}

TEST(DeviceMap, NamesWhatItDoesNotCover) {
  const DeviceMap map{{"a", 0}, {"b", "cpu"}};
  EXPECT_FALSE(map.find("c.weight"));
  EXPECT_THROW(map.at("ab.weight"), UsageError);
  try {
    map.check_covers({"a.weight", "c.weight", "d"});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("\"c.weight\" and 1 more"), std::string::npos) << error.what();
  }
}

TEST(DeviceMap, PrintsAsPythonDoes) {
  const DeviceMap map{{"transformer_blocks.0", 0}, {"proj_out", "cpu"}, {"", "disk"}};
  EXPECT_EQ(map.to_text(), "{'transformer_blocks.0': 0, 'proj_out': 'cpu', '': 'disk'}");
  EXPECT_EQ(map.to_json().dump(), R"({"transformer_blocks.0":0,"proj_out":"cpu","":"disk"})");
  EXPECT_EQ(DeviceMap::from_json(map.to_json(), "x"), map);
}

TEST(DeviceMap, ReadsDeviceNames) {
  const auto map =
      DeviceMap::from_json(Json::parse(R"({"a": "cuda:1", "b": "cuda", "c": "2", "d": "sim:3"})"), "x");
  EXPECT_EQ(map, (DeviceMap{{"a", 1}, {"b", 0}, {"c", 2}, {"d", 3}}));
  for (const char* text : {"[]", R"({"a": -1})", R"({"a": 1.0})", R"({"a": "gpu"})", R"({"a": null})",
                           R"({"a": "cuda:"})", R"({"a": "cuda:1x"})", R"({"a": 99999999})"})
    EXPECT_THROW(DeviceMap::from_json(Json::parse(text), "x"), UsageError) << text;
}

TEST(DeviceMap, AComponentHasAMapOfItsOwn) {
  const DeviceMap map{{"text_encoder", 1}, {"transformer.blocks.0", 0}, {"transformer.blocks", "cpu"}};
  EXPECT_EQ(map.below("transformer"), (DeviceMap{{"blocks.0", 0}, {"blocks", "cpu"}}));
  EXPECT_EQ(map.below("text_encoder"), (DeviceMap{{"", 1}}));
  DeviceMap all;
  all.add_below("transformer", map.below("transformer"));
  all.add_below("text_encoder", map.below("text_encoder"));
  EXPECT_EQ(all, map);
}

// accelerate's test_clean_device_map.
TEST(CleanDeviceMap, NamesTheModuleThatIsOnOneDevice) {
  EXPECT_EQ(clean_device_map({{"a", 0}, {"b", 0}, {"c", 0}}), (DeviceMap{{"", 0}}));
  EXPECT_EQ(clean_device_map({{"a", 0}, {"b", 0}, {"c", 1}}), (DeviceMap{{"a", 0}, {"b", 0}, {"c", 1}}));
  EXPECT_EQ(clean_device_map({{"a.a", 0}, {"a.b", 0}, {"a.c", 1}, {"b.a", 0}, {"b.b", 0}, {"b.c", 0}}),
            (DeviceMap{{"a.a", 0}, {"a.b", 0}, {"a.c", 1}, {"b", 0}}));
  EXPECT_EQ(clean_device_map({{"a.a.a", 0}, {"a.a.b", 0}, {"a.b.a", 1}, {"a.b.b", 1}, {"a.b.c", 1}}),
            (DeviceMap{{"a.a", 0}, {"a.b", 1}}));
  EXPECT_EQ(clean_device_map({{"a", 0}, {"a.b", 1}, {"c", 0}}), (DeviceMap{{"a", 0}, {"a.b", 1}, {"c", 0}}));
  EXPECT_EQ(clean_device_map({}), DeviceMap());
}

TEST(CheckDeviceMap, RefusesAMapWithHolesAndWarnsOfStrayNames) {
  const ModuleTree tree{.root = test::model_for_test(), .tied = {{"linear1.p0", "linear2.p0"}}};
  EXPECT_THROW(check_device_map(tree, {{"linear1", 0}, {"linear2", 0}}), UsageError);
  EXPECT_TRUE(check_device_map(tree, {{"", 0}}).empty());
  // A tensor's name covers the tensor; it is not stray.
  EXPECT_TRUE(check_device_map(tree, {{"", 0}, {"batchnorm.p0", 1}}).empty());
  EXPECT_EQ(check_device_map(tree, {{"", 0}, {"linear3", 1}}).size(), 1u);
  EXPECT_EQ(check_device_map(tree, {{"", 0}, {"linear2", 1}}).size(), 1u);  // tied tensors apart
}

}  // namespace
}  // namespace diffract::placement
