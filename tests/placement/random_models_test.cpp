#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/placement/random_model.h"

namespace diffract::placement {
namespace {

constexpr Strategy kStrategies[] = {Strategy::automatic, Strategy::balanced, Strategy::balanced_low_0,
                                    Strategy::sequential};

PlanOptions random_options(std::mt19937& random) {
  PlanOptions options;
  if (random() % 2) options.size.dtype_bytes = 2;
  if (random() % 2) options.no_split_module_classes = {"Block"};
  options.fallback_allocation = random() % 3 == 0;
  return options;
}

// Every tensor placed exactly once, no budget exceeded, no block split, tied weights together.
TEST(RandomModels, EveryMapIsSoundAndWithinItsBudgets) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const ModuleTree tree = test::random_model(random);
    const PlanOptions options = random_options(random);
    const MaxMemory memory = test::random_memory(random, compute_module_sizes(tree, options.size).total());
    for (const Strategy strategy : kStrategies) {
      SCOPED_TRACE(
          fmt::format("seed {}, strategy {}, {}", seed, static_cast<int>(strategy), memory.to_json().dump()));
      const DeviceMap map = plan_device_map(tree, strategy, memory, options);
      test::expect_sound(tree, map, options);
      test::expect_within(tree, map, options, memory);
      EXPECT_TRUE(check_device_map(tree, map).empty());
      if (HasFailure()) return;
    }
  }
}

std::vector<PlannedComponent> random_pipeline(std::mt19937& random) {
  std::vector<PlannedComponent> components;
  const size_t count = 1 + random() % 4;
  for (size_t i = 0; i < count; ++i) {
    PlannedComponent component{.name = "part" + std::to_string(i),
                               .tree = test::random_model(random),
                               .options = random_options(random),
                               .runs = random() % 2 ? 20 : 1,
                               .stage = static_cast<int>(random() % 3)};
    // A component's own options decide for its own blocks; here all agree.
    component.options.no_split_module_classes = {"Block"};
    const int64_t total = compute_module_sizes(component.tree, component.options.size).total();
    component.working_bytes = total / static_cast<int64_t>(2 + random() % 20);
    components.push_back(std::move(component));
  }
  return components;
}

int64_t total_of(const std::vector<PlannedComponent>& components) {
  int64_t total = 0;
  for (const auto& c : components)
    total += compute_module_sizes(c.tree, c.options.size).total() + c.working_bytes;
  return total;
}

TEST(RandomModels, EveryPipelineMapIsSoundAndCountsWhatComputingTakes) {
  size_t planned = 0, refused = 0, offloaded = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const auto components = random_pipeline(random);
    const MaxMemory memory = test::random_memory(random, total_of(components));
    const auto lifetime = random() % 2 ? Lifetime::whole_job : Lifetime::stage;
    for (const Strategy strategy : {Strategy::automatic, Strategy::balanced_low_0, Strategy::sequential}) {
      SCOPED_TRACE(
          fmt::format("seed {}, strategy {}, {}", seed, static_cast<int>(strategy), memory.to_json().dump()));
      DeviceMap map;
      try {
        map = plan_pipeline_map(components, strategy, memory, lifetime);
      } catch (const MemoryError&) {
        ++refused;
        continue;
      }
      ++planned;
      check_budgets(components, map, memory, lifetime);  // throws where it does not hold
      for (const auto& component : components) {
        const DeviceMap own = map.below(component.name);
        test::expect_sound(component.tree, own, component.options);
      }
      offloaded += map.uses(Place::disk()) ? 1 : 0;
      if (HasFailure()) return;
    }
  }
  // The budgets are such that each happens often.
  EXPECT_GT(planned, 400u);
  EXPECT_GT(refused, 30u);
  EXPECT_GT(offloaded, 40u);
}

TEST(RandomModels, NothingIsOffloadedOrReservedWhereOneAcceleratorHoldsAll) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto components = random_pipeline(random);
    int64_t weights = 0, working = 0;
    for (const auto& c : components) {
      weights += compute_module_sizes(c.tree, c.options.size).total();
      working = std::max(working, c.working_bytes);
    }
    if (weights == 0) continue;
    const MaxMemory memory{{0, weights + working}, {"cpu", weights}};
    for (const Strategy strategy : {Strategy::automatic, Strategy::balanced_low_0, Strategy::sequential}) {
      const auto map = plan_pipeline_map(components, strategy, memory, Lifetime::whole_job);
      EXPECT_EQ(map.places(), std::vector<Place>{0}) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace diffract::placement
