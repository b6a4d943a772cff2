#include <gtest/gtest.h>

#include "diffract/core/json.h"
#include "diffract/placement/planner.h"
#include "tests/placement/random_model.h"
#include "tests/support/temp_folder.h"

// 400 random models with ties, buffers, blocks and fallback_allocation, and what accelerate makes of them
// (tools/make_placement_cases.py).
namespace diffract::placement {
namespace {

Module module_of(const Json& json) {
  Module module{.name = json[0], .class_name = json[1]};
  for (const Json& tensor : json[2]) {
    const auto elements = tensor[1].get<int64_t>();
    module.tensors.push_back(
        {.name = tensor[0], .elements = elements, .bytes = 4 * elements, .is_buffer = tensor[2].get<bool>()});
  }
  for (const Json& child : json[3]) module.children.push_back(module_of(child));
  return module;
}

TEST(AccelerateCases, MapsAreEqual) {
  const Json cases = load_json(diffract::test::data("placement/random_models.json"));
  ASSERT_EQ(cases.size(), 400u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Json& c = cases[i];
    ModuleTree tree{.root = module_of(c["tree"]), .tied = c["tied"]};
    PlanOptions options{.no_split_module_classes = c["no_split"],
                        .fallback_allocation = c["fallback"].get<bool>()};
    if (!c["dtype"].is_null()) options.size.dtype_bytes = 2;
    MaxMemory memory;
    for (const Json& entry : c["memory"])
      memory.set(Place::from_json(entry[0], "case"), entry[1].get<int64_t>());
    const auto strategy = parse_strategy(c["strategy"].get<std::string>());
    SCOPED_TRACE(fmt::format("case {}: {}", i, c.dump()));
    const DeviceMap map = plan_device_map(tree, *strategy, memory, options);
    test::expect_sound(tree, map, options);
    ASSERT_TRUE(c.contains("device_map")) << "accelerate failed; expect_sound is all there is to say";
    EXPECT_EQ(map, DeviceMap::from_json(c["device_map"], "case")) << map.to_text();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace diffract::placement
