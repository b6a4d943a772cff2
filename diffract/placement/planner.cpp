#include "diffract/placement/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace diffract::placement {
namespace {

using Entries = std::vector<DeviceMap::Entry>;

// Adds what is left of `entries`, all below `prefix`, to `clean`.
void clean_below(const std::string& prefix, const Entries& entries, DeviceMap& clean) {
  const bool one_place = std::all_of(entries.begin(), entries.end(), [&](const DeviceMap::Entry& entry) {
    return entry.second == entries.front().second;
  });
  if (one_place) {
    clean.set(entries.size() > 1 ? prefix : entries.front().first, entries.front().second);
    return;
  }
  std::vector<std::pair<std::string, Entries>> children;  // in the order in which they first come
  for (const auto& entry : entries) {
    std::string child = entry.first.substr(0, entry.first.find('.', prefix.empty() ? 0 : prefix.size() + 1));
    const auto found = std::find_if(children.begin(), children.end(),
                                    [&](const auto& candidate) { return candidate.first == child; });
    auto& group = found == children.end() ? children.emplace_back(std::move(child), Entries{}) : *found;
    group.second.push_back(entry);
  }
  for (const auto& [name, below] : children) {
    bool names_itself = false;
    for (const auto& entry : below) names_itself = names_itself || entry.first == name;
    if (!names_itself) {
      clean_below(name, below, clean);
      continue;
    }
    for (const auto& [key, place] : below) clean.set(key, place);  // a module and exceptions below it
  }
}

}  // namespace

std::optional<Strategy> parse_strategy(std::string_view name) {
  if (name == "auto") return Strategy::automatic;
  if (name == "balanced") return Strategy::balanced;
  if (name == "balanced_low_0") return Strategy::balanced_low_0;
  if (name == "sequential") return Strategy::sequential;
  return {};
}

MaxMemory get_max_memory(const std::optional<MaxMemory>& given, const MaxMemory& free) {
  if (given) return *given;
  std::vector<MaxMemory::Entry> accelerators;
  for (const auto& entry : free)
    if (entry.first.is_accelerator() && entry.second > 0) accelerators.push_back(entry);
  MaxMemory memory = free;
  if (accelerators.size() == 1) memory.set(accelerators[0].first, accelerators[0].second / 10 * 9);
  return memory;
}

DeviceMap plan_device_map(const ModuleTree& tree, Strategy strategy, const MaxMemory& memory,
                          const PlanOptions& options) {
  if (strategy == Strategy::sequential) return infer_auto_device_map(tree, memory, options);
  const bool low_zero = strategy == Strategy::balanced_low_0;
  return infer_auto_device_map(tree, get_balanced_memory(tree, memory, options, low_zero), options);
}

DeviceMap clean_device_map(const DeviceMap& map) {
  DeviceMap clean;
  if (!map.empty()) clean_below("", map.entries(), clean);
  return clean;
}

std::string buffer_warning(const ModuleTree& tree, const DeviceMap& map, const MaxMemory& memory,
                           const PlanOptions& options, bool offload_buffers) {
  const auto sizes = compute_module_sizes(tree, options.size);
  std::map<Place, int64_t> used;
  int64_t buffers = 0;
  tree.walk([&](const std::string& name, const Module& module) {
    for (const TensorSize& tensor : module.tensors) {
      const std::string full = join_name(name, tensor.name);
      const Place place = map.at(full);
      used[place] += sizes[full];
      if (tensor.is_buffer && !place.is_accelerator()) buffers += sizes[full];
    }
  });
  bool has_accelerator = false;
  for (const auto& [place, bytes] : memory) {
    if (!place.is_accelerator()) continue;
    has_accelerator = true;
    if (bytes >= used[place] + buffers) return {};
  }
  if (offload_buffers || buffers == 0 || !has_accelerator) return {};
  return fmt::format(
      "the buffers of offloaded modules, {} bytes, stay on an accelerator, and none has room for them",
      buffers);
}

std::vector<std::string> check_device_map(const ModuleTree& tree, const DeviceMap& map,
                                          const std::string& component) {
  const std::string prefix = component.empty() ? "" : component + ".";
  const DeviceMap own = map.below(component);
  const auto tensors = tree.tensor_names();
  std::vector<std::string> full_names;
  full_names.reserve(tensors.size());
  for (const std::string& tensor : tensors) full_names.push_back(prefix + tensor);
  map.check_covers(full_names);
  std::vector<std::string> warnings;
  const std::set<std::string> known(tensors.begin(), tensors.end());
  for (const auto& [name, place] : own)
    if (!tree.find(name) && !known.contains(name))
      warnings.push_back(fmt::format("device map: \"{}{}\" names nothing in the model", prefix, name));
  for (const auto& group : tree.tied)
    for (const std::string& name : group)
      if (own.at(name) != own.at(group.front()))
        warnings.push_back(
            fmt::format("device map: \"{0}{1}\" and \"{0}{2}\" are one tensor, but are put on {3} and {4}",
                        prefix, group.front(), name, own.at(group.front()).name(), own.at(name).name()));
  return warnings;
}

}  // namespace diffract::placement
