#include "diffract/placement/module_tree.h"

#include <algorithm>
#include <unordered_set>

#include "diffract/placement/device_map.h"

namespace diffract::placement {
namespace {

using Visit = std::function<void(const std::string&, const Module&)>;

void walk_below(const Module& module, const std::string& name, const Visit& visit) {
  visit(name, module);
  for (const Module& child : module.children) walk_below(child, join_name(name, child.name), visit);
}

int64_t size_of(const TensorSize& tensor, const std::string& name, const SizeOptions& options) {
  if (const auto special = options.special_dtype_bytes.find(name);
      special != options.special_dtype_bytes.end())
    return tensor.elements * special->second;
  if (!options.dtype_bytes || !tensor.is_floating) return tensor.bytes;
  return std::min(tensor.elements * *options.dtype_bytes, tensor.bytes);
}

}  // namespace

const Module* ModuleTree::find(std::string_view name) const {
  const Module* module = &root;
  while (!name.empty()) {
    // A child's own name may not hold a dot, so the first part decides.
    const std::string_view part = name.substr(0, name.find('.'));
    const auto child = std::find_if(module->children.begin(), module->children.end(),
                                    [&](const Module& candidate) { return candidate.name == part; });
    if (child == module->children.end()) return nullptr;
    module = &*child;
    name.remove_prefix(std::min(part.size() + 1, name.size()));
  }
  return module;
}

void ModuleTree::walk(const Visit& visit) const { walk_below(root, "", visit); }

std::vector<std::string> ModuleTree::tensor_names() const {
  std::vector<std::string> names;
  walk([&](const std::string& name, const Module& module) {
    for (const TensorSize& tensor : module.tensors) names.push_back(join_name(name, tensor.name));
  });
  return names;
}

ModuleTree sized(ModuleTree tree, const SizeOptions& options) {
  const std::function<void(Module&, const std::string&)> apply = [&](Module& module,
                                                                     const std::string& name) {
    for (TensorSize& tensor : module.tensors)
      tensor.bytes = size_of(tensor, join_name(name, tensor.name), options);
    for (Module& child : module.children) apply(child, join_name(name, child.name));
  };
  apply(tree.root, "");
  return tree;
}

void for_each_layer(const Module& module, const std::string& name,
                    const std::unordered_set<std::string>& no_split_module_classes, const Visit& visit) {
  if (module.children.empty() || no_split_module_classes.contains(module.class_name))
    return visit(name, module);
  for (const Module& child : module.children)
    for_each_layer(child, join_name(name, child.name), no_split_module_classes, visit);
}

void ModuleSizes::add(const std::string& name, int64_t bytes) {
  const auto [found, added] = index_.emplace(name, entries_.size());
  if (added)
    entries_.emplace_back(name, bytes);
  else
    entries_[found->second].second += bytes;
}

int64_t ModuleSizes::operator[](const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? 0 : entries_[found->second].second;
}

ModuleSizes compute_module_sizes(const ModuleTree& tree, const SizeOptions& options) {
  std::unordered_set<std::string> counted_elsewhere;
  for (const auto& group : tree.tied) counted_elsewhere.insert(std::next(group.begin()), group.end());
  ModuleSizes sizes;
  // All parameters before all buffers, as torch lists them.
  for (const bool buffers : {false, true})
    tree.walk([&](const std::string& module_name, const Module& module) {
      for (const TensorSize& tensor : module.tensors) {
        const std::string name = join_name(module_name, tensor.name);
        if (tensor.is_buffer != buffers || counted_elsewhere.contains(name)) continue;
        const int64_t bytes = size_of(tensor, name, options);
        sizes.add("", bytes);
        for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
          sizes.add(name.substr(0, dot), bytes);
        sizes.add(name, bytes);
      }
    });
  return sizes;
}

}  // namespace diffract::placement
