#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "diffract/placement/planner.h"

namespace diffract::placement {
namespace {

using Entries = std::vector<ModuleSizes::Entry>;

// The names that no other name is directly below. The root is none.
std::unordered_set<std::string> leaves_of(const Entries& entries) {
  std::unordered_set<std::string> parents;
  for (const auto& [name, bytes] : entries)
    if (const size_t dot = name.rfind('.'); dot != std::string::npos) parents.insert(name.substr(0, dot));
  std::unordered_set<std::string> leaves;
  for (const auto& [name, bytes] : entries)
    if (!name.empty() && !parents.contains(name)) leaves.insert(name);
  return leaves;
}

// The mean size of the modules whose tensors are their own: the leaves, once tensors are taken away.
int64_t mean_layer_bytes(const Entries& entries) {
  const auto tensors = leaves_of(entries);
  Entries modules;
  for (const auto& entry : entries)
    if (!tensors.contains(entry.first)) modules.push_back(entry);
  const auto layers = leaves_of(modules);
  int64_t total = 0;
  for (const auto& [name, bytes] : modules)
    if (layers.contains(name)) total += bytes;
  return total / std::max<int64_t>(static_cast<int64_t>(layers.size()), 1);
}

// The largest of the first block of each class that may not be split.
int64_t block_bytes(const ModuleTree& tree, const Entries& entries, const std::vector<std::string>& classes) {
  std::unordered_map<std::string, int64_t> first;
  for (const auto& [name, bytes] : entries) {
    const Module* module = name.empty() ? nullptr : tree.find(name);
    if (module && std::find(classes.begin(), classes.end(), module->class_name) != classes.end())
      first.emplace(module->class_name, bytes);
  }
  int64_t most = 0;
  for (const auto& [class_name, bytes] : first) most = std::max(most, bytes);
  return most;
}

}  // namespace

MaxMemory get_balanced_memory(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
                              bool low_zero) {
  std::vector<Place> devices;
  bool first_is_closed = false;  // the first accelerator has no memory to begin with
  for (const auto& [place, bytes] : memory) {
    if (!place.is_accelerator()) continue;
    if (bytes > 0)
      devices.push_back(place);
    else if (devices.empty())
      first_is_closed = true;
  }
  if (devices.empty()) return memory;
  low_zero = low_zero && devices.size() > 1 && !first_is_closed;

  const ModuleSizes sizes = compute_module_sizes(tree, options.size);
  const int64_t largest = std::max(block_bytes(tree, sizes.entries(), options.no_split_module_classes),
                                   mean_layer_bytes(sizes.entries()));
  const auto sharers = static_cast<int64_t>(devices.size()) - (low_zero ? 1 : 0);
  const int64_t share = sizes.total() / sharers + largest + largest / 4;

  MaxMemory balanced = memory;
  for (size_t i = low_zero ? 1 : 0; i + 1 < devices.size(); ++i)
    balanced.set(devices[i], std::min(share, *memory.find(devices[i])));
  if (low_zero) {
    int64_t rest = sizes.total();
    for (size_t i = 1; i < devices.size(); ++i) rest -= *balanced.find(devices[i]);
    balanced.set(devices[0], std::min(std::max<int64_t>(rest, 0), *memory.find(devices[0])));
  }
  return balanced;
}

}  // namespace diffract::placement
