#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace diffract::placement {

/// A parameter or buffer of a module.
struct TensorSize {
  std::string name;  // within its module
  int64_t elements = 0;
  int64_t bytes = 0;        // as it is stored
  bool is_floating = true;  // follows the dtype that the model is loaded in
  bool is_buffer = false;
};

/// A module of a model, with what is registered in it, in the order of registration.
struct Module {
  std::string name;        // within its parent; empty for the root
  std::string class_name;  // e.g. "FluxTransformerBlock"
  std::vector<TensorSize> tensors = {};
  std::vector<Module> children = {};
};

/// A model as a planner sees it: names, classes and sizes, no weights.
struct ModuleTree {
  Module root;
  /// Full names of tensors that are one tensor, group by group; the first of a group is the one that stands
  /// first in the model, and the one that is counted.
  std::vector<std::vector<std::string>> tied = {};

  /// The module of this full name; null where there is none.
  const Module* find(std::string_view name) const;
  /// Calls visit(full name, module) for every module, a parent before its children.
  void walk(const std::function<void(const std::string&, const Module&)>& visit) const;
  /// Full names of all tensors, parameters and buffers of each module in turn.
  std::vector<std::string> tensor_names() const;
};

/// How a model is loaded, as far as its size depends on it.
struct SizeOptions {
  std::optional<int64_t> dtype_bytes = {};  // of an element: narrower than stored only; unset: as stored
  std::unordered_map<std::string, int64_t> special_dtype_bytes = {};  // by full tensor name
};

/// The same tree with the bytes of each tensor as it is loaded.
ModuleTree sized(ModuleTree tree, const SizeOptions& options);

/// Calls visit(full name, module) for each module at or below `module` that is computed as a whole: a block
/// of one of the classes, or one without children.
void for_each_layer(const Module& module, const std::string& name,
                    const std::unordered_set<std::string>& no_split_module_classes,
                    const std::function<void(const std::string&, const Module&)>& visit);

/// Bytes of every module and every tensor by full name, a tied tensor counted once, under its first name.
class ModuleSizes {
 public:
  using Entry = std::pair<std::string, int64_t>;
  void add(const std::string& name, int64_t bytes);
  /// 0 for a name without tensors.
  int64_t operator[](const std::string& name) const;
  int64_t total() const { return (*this)[""]; }
  /// In the order in which tensors first touch them.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;
};

/// Source: accelerate compute_module_sizes. Unlike there, a bool takes a byte, as in torch.
ModuleSizes compute_module_sizes(const ModuleTree& tree, const SizeOptions& options = {});

}  // namespace diffract::placement
