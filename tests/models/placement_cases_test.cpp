#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/models/module_tree.h"

// The device maps that accelerate 1.15 gives for full-size models and 96 memory budgets
// (tests/data/placement).
namespace diffract::models {
namespace {

using placement::DeviceMap;
using placement::MaxMemory;

const std::filesystem::path kData = std::filesystem::path(DIFFRACT_TEST_DATA) / "placement";

MaxMemory memory_of(const Json& pairs) {
  MaxMemory memory;
  for (const Json& pair : pairs)
    memory.set(placement::Place::from_json(pair[0], "case"), pair[1].get<int64_t>());
  return memory;
}

TEST(PlacementCases, EqualAccelerates) {
  const Json cases = load_json(kData / "placement.json");
  ASSERT_EQ(cases.size(), 96u);
  std::map<std::string, placement::ModuleTree> trees;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json& c = cases[i];
    const std::string file = c["config"];
    SCOPED_TRACE(fmt::format("case {}: {} {} {}", i, file, c["strategy"].dump(), c["max_memory"].dump()));
    const ConfigReader config(load_json(kData / file), file);
    if (!trees.count(file)) trees.emplace(file, make_module_tree(config));
    const auto& tree = trees.at(file);
    const auto options = plan_options(config, c["dtype"] == "float32" ? 4 : 2);
    const auto strategy = placement::parse_strategy(c["strategy"].get<std::string>());
    const MaxMemory memory = memory_of(c["max_memory"]);
    if (*strategy != placement::Strategy::sequential) {
      EXPECT_EQ(placement::get_balanced_memory(tree, memory, options,
                                               *strategy == placement::Strategy::balanced_low_0)
                    .to_json(),
                memory_of(c["balanced_memory"]).to_json());
    }
    const DeviceMap map = placement::plan_device_map(tree, *strategy, memory, options);
    const DeviceMap expected = DeviceMap::from_json(c["device_map"], "case");
    EXPECT_TRUE(map == expected) << map.to_text() << "\n" << expected.to_text();
  }
}

}  // namespace
}  // namespace diffract::models
