#include "diffract/placement/spread_offload.h"

#include <algorithm>
#include <map>

#include "diffract/placement/spread.h"

namespace diffract::placement {
namespace {

struct Block {
  std::string name;
  int64_t bytes;
  Place before, after;
};

// Blocks on `main` and those that it computes for the CPU and the disk, in the model's order.
std::vector<Block> movable_blocks(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options,
                                  Place main) {
  const auto& classes = options.no_split_module_classes;
  const std::unordered_set<std::string> whole(classes.begin(), classes.end());
  const auto sizes = compute_module_sizes(tree, options.size);
  const auto is_tied = [&](const std::string& name) {
    return std::any_of(tree.tied.begin(), tree.tied.end(), [&](const auto& group) {
      return std::any_of(group.begin(), group.end(),
                         [&](const std::string& tensor) { return covers(name, tensor); });
    });
  };
  std::vector<Block> blocks;
  for_each_layer(tree.root, "", whole, [&](const std::string& name, const Module& module) {
    const auto place = map.find(name);
    if (!whole.contains(module.class_name) || !place || sizes[name] == 0 || is_tied(name)) return;
    if (*place == main || place->is_cpu() || place->is_disk())
      blocks.push_back({name, sizes[name], *place, *place});
  });
  return blocks;
}

// Puts as many of the blocks' bytes to each of their places as were there, but for the slowest: that one gets
// the rest.
void spread(const std::vector<Block*>& blocks) {
  std::map<Place, int64_t> bytes;
  for (const Block* block : blocks) bytes[block->before] += block->bytes;
  const Place slowest = bytes.rbegin()->first;
  bytes.erase(slowest);
  for (Block* block : blocks) block->after = slowest;
  for (const auto& [place, may_stay] : bytes) {
    std::vector<Block*> rest;
    std::vector<int64_t> sizes;
    for (Block* block : blocks) {
      if (block->after != slowest) continue;
      rest.push_back(block);
      sizes.push_back(block->bytes);
    }
    const auto kept = spread_kept(sizes, may_stay);
    for (size_t i = 0; i < rest.size(); ++i)
      if (kept[i]) rest[i]->after = place;
  }
}

// Adds the module's entry, or those of what is below it where blocks move out of it.
void add_entry(const Module& module, const std::string& name, Place place,
               const std::map<std::string, Place>& moved, DeviceMap& map) {
  if (const auto found = moved.find(name); found != moved.end()) return map.set(name, found->second);
  const bool is_divided =
      std::any_of(moved.begin(), moved.end(), [&](const auto& entry) { return covers(name, entry.first); });
  if (!is_divided) return map.set(name, place);
  for (const TensorSize& tensor : module.tensors) map.set(join_name(name, tensor.name), place);
  for (const Module& child : module.children)
    add_entry(child, join_name(name, child.name), place, moved, map);
}

}  // namespace

DeviceMap spread_offload(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options, Place main,
                         Exchange exchange) {
  std::vector<Block> blocks = movable_blocks(tree, map, options, main);
  std::map<int64_t, std::vector<Block*>> groups;  // that exchange places
  for (Block& block : blocks) groups[exchange == Exchange::any_blocks ? 0 : block.bytes].push_back(&block);
  for (const auto& [size, group] : groups) spread(group);
  std::map<std::string, Place> moved;
  for (const Block& block : blocks)
    if (block.after != block.before) moved.emplace(block.name, block.after);
  DeviceMap divided;
  for (const auto& [name, place] : map) {
    if (const Module* module = tree.find(name))
      add_entry(*module, name, place, moved, divided);
    else
      divided.set(name, place);  // a tensor
  }
  return clean_device_map(divided);
}

}  // namespace diffract::placement
