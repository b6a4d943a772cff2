#include "tests/placement/random_model.h"

#include <gtest/gtest.h>

#include <map>

namespace diffract::placement::test {
namespace {

int64_t between(std::mt19937& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}
bool chance(std::mt19937& random, int percent) { return between(random, 1, 100) <= percent; }

TensorSize random_tensor(std::mt19937& random, const std::string& name, bool is_buffer) {
  const int64_t elements = between(random, 1, 300);
  const bool is_floating = !is_buffer || chance(random, 70);
  return {.name = name,
          .elements = elements,
          .bytes = elements * (is_floating ? 4 : 8),
          .is_floating = is_floating,
          .is_buffer = is_buffer};
}

// Short names, so that many begin alike: "1" and "10" at one level, "1.1" and "11".
Module random_module(std::mt19937& random, const std::string& name, int depth) {
  const bool is_leaf = depth == 4 || (depth > 0 && chance(random, 35));
  Module module{.name = name, .class_name = depth > 0 && chance(random, 35) ? "Block" : "Stack"};
  const int64_t parameters = is_leaf ? between(random, 0, 3) : (chance(random, 30) ? 1 : 0);
  for (int64_t i = 0; i < parameters; ++i)
    module.tensors.push_back(random_tensor(random, "w" + std::to_string(i), false));
  if (chance(random, 15)) module.tensors.push_back(random_tensor(random, "b", true));
  if (!is_leaf)
    for (int64_t i = 0, count = chance(random, 5) ? 12 : between(random, 1, 4); i < count; ++i)
      module.children.push_back(random_module(random, std::to_string(i), depth + 1));
  return module;
}

TensorSize* tensor_at(Module& module, const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) {
    for (TensorSize& tensor : module.tensors)
      if (tensor.name == name) return &tensor;
    return nullptr;
  }
  for (Module& child : module.children)
    if (child.name == name.substr(0, dot)) return tensor_at(child, name.substr(dot + 1));
  return nullptr;
}

void tie_some(std::mt19937& random, ModuleTree& tree) {
  std::vector<std::string> parameters;
  tree.walk([&](const std::string& name, const Module& module) {
    for (const TensorSize& tensor : module.tensors)
      if (!tensor.is_buffer) parameters.push_back(join_name(name, tensor.name));
  });
  for (int64_t groups = between(random, 0, 3); groups > 0 && parameters.size() >= 2; --groups) {
    std::vector<size_t> chosen;
    for (int64_t i = between(random, 2, 3); i > 0; --i)
      chosen.push_back(static_cast<size_t>(between(random, 0, static_cast<int64_t>(parameters.size()) - 1)));
    std::sort(chosen.begin(), chosen.end());
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    if (chosen.size() < 2) continue;
    std::vector<std::string> group;
    for (const size_t index : chosen) group.push_back(parameters[index]);
    for (auto index = chosen.rbegin(); index != chosen.rend(); ++index)
      parameters.erase(parameters.begin() + static_cast<std::ptrdiff_t>(*index));
    const TensorSize first = *tensor_at(tree.root, group.front());
    for (const std::string& name : group) {
      TensorSize& tensor = *tensor_at(tree.root, name);
      tensor.elements = first.elements;
      tensor.bytes = first.bytes;
    }
    tree.tied.push_back(std::move(group));
  }
}

}  // namespace

ModuleTree random_model(std::mt19937& random) {
  ModuleTree tree{.root = random_module(random, "", 0)};
  tie_some(random, tree);
  return tree;
}

MaxMemory random_memory(std::mt19937& random, int64_t total_bytes) {
  MaxMemory memory;
  const int64_t accelerators = between(random, 0, 8);
  const int64_t percent = between(random, 5, 250);
  for (int64_t i = 0; i < accelerators; ++i) {
    const auto index = static_cast<int>(i + (chance(random, 20) ? 3 * i + 1 : 0));
    const int64_t share = total_bytes * percent * between(random, 50, 150) / 10'000 / accelerators;
    memory.set(index, chance(random, 5) ? 0 : share);
  }
  if (chance(random, 70)) memory.set(Place::cpu(), total_bytes * between(random, 0, 150) / 100);
  if (chance(random, 20)) memory.set(Place::disk(), total_bytes);
  return memory;
}

void expect_sound(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options) {
  for (const std::string& tensor : tree.tensor_names()) {
    int entries = 0;
    for (const auto& [name, place] : map) entries += covers(name, tensor) ? 1 : 0;
    ASSERT_EQ(entries, 1) << tensor << " in " << map.to_text();
  }
  for (const auto& group : tree.tied)
    for (const std::string& name : group)
      ASSERT_EQ(map.at(name), map.at(group.front()))
          << name << " and " << group.front() << " in " << map.to_text();
  const auto& whole = options.no_split_module_classes;
  tree.walk([&](const std::string& name, const Module& module) {
    if (name.empty() || std::find(whole.begin(), whole.end(), module.class_name) == whole.end()) return;
    for (const auto& [entry, place] : map)
      EXPECT_FALSE(entry != name && covers(name, entry))
          << "block " << name << " is split in " << map.to_text();
  });
}

void expect_within(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options,
                   const MaxMemory& memory) {
  const auto sizes = compute_module_sizes(tree, options.size);
  std::map<Place, int64_t> used;
  for (const std::string& tensor : tree.tensor_names()) used[map.at(tensor)] += sizes[tensor];
  for (const auto& [place, bytes] : used) {
    const auto budget = memory.find(place);
    if (!budget && place.is_disk()) continue;
    ASSERT_TRUE(budget || bytes == 0) << place.name() << " is used without a budget in " << map.to_text();
    EXPECT_LE(bytes, budget.value_or(0)) << place.name() << " in " << map.to_text();
  }
}

}  // namespace diffract::placement::test
