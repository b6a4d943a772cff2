#include "diffract/models/module_tree.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_order.h"

namespace diffract::models {
namespace {

using placement::Module;
using placement::ModuleTree;
using placement::TensorSize;

// What a model asked its checkpoint for, by module.
struct Asked {
  std::string name;
  std::vector<TensorSize> tensors = {};
  std::vector<Asked> children = {};

  const Asked* child(std::string_view wanted) const {
    const auto found = std::find_if(children.begin(), children.end(),
                                    [&](const Asked& candidate) { return candidate.name == wanted; });
    return found == children.end() ? nullptr : &*found;
  }

  void add(std::string_view tensor, int64_t elements) {
    const size_t dot = tensor.find('.');
    if (dot == std::string_view::npos) {
      tensors.push_back({.name = std::string(tensor),
                         .elements = elements,
                         .bytes = elements * static_cast<int64_t>(sizeof(float))});
      return;
    }
    const std::string_view below = tensor.substr(0, dot);
    if (!child(below)) children.push_back({.name = std::string(below)});
    const_cast<Asked*>(child(below))->add(tensor.substr(dot + 1), elements);
  }
};

Asked ask(const ModelClass& model_class, const ConfigReader& config) {
  Asked root;
  const auto checkpoint = weights::meta_source(
      [&](const std::string& name, at::IntArrayRef shape) { root.add(name, c10::multiply_integers(shape)); });
  model_class.build(config, weights::WeightScope(checkpoint, {}));
  return root;
}

Module arrange(const Asked* asked, const std::string& name, std::string type);

// "A?child|B": the first whose child was asked for, or the last.
std::string choose(std::string_view types, const Asked* asked) {
  while (true) {
    const size_t bar = types.find('|');
    const std::string_view option = types.substr(0, bar);
    const size_t question = option.find('?');
    if (question == std::string_view::npos || (asked && asked->child(option.substr(question + 1))))
      return std::string(option.substr(0, question));
    types.remove_prefix(bar + 1);
  }
}

std::vector<Module> arrange_list(const Asked* asked, std::string_view type) {
  const std::string_view inner = type.substr(1, type.size() - 2);
  std::vector<Module> items;
  if (type.starts_with('[')) {
    constexpr size_t kMost = 10'000;  // a list may hold layers without tensors between others
    for (size_t i = 0; asked && items.size() < asked->children.size() && i < kMost; ++i) {
      const std::string index = std::to_string(i);
      if (const Asked* item = asked->child(index)) items.push_back(arrange(item, index, std::string(inner)));
    }
    return items;
  }
  for (size_t from = 0, i = 0; from <= inner.size(); ++i) {
    const size_t comma = std::min(inner.find(',', from), inner.size());
    std::string_view item = inner.substr(from, comma - from);
    from = comma + 1;
    if (item.starts_with('~')) item.remove_prefix(1);
    const std::string index = std::to_string(i);
    items.push_back(arrange(asked ? asked->child(index) : nullptr, index, std::string(item)));
  }
  return items;
}

// What was asked for and has no place in the order would be lost to the plan.
void require_all(const Asked& asked, const Module& module, const std::string& type) {
  for (const Asked& child : asked.children)
    if (std::none_of(module.children.begin(), module.children.end(),
                     [&](const Module& placed) { return placed.name == child.name; }))
      throw InternalError(
          "the models' rows of modules: class {} has no child \"{}\", which the model asks for", type,
          child.name);
}

Module arrange(const Asked* asked, const std::string& name, std::string type) {
  Module module{.name = name};
  if (type.starts_with('[') || type.starts_with('(')) {
    module.class_name = "ModuleList";
    module.children = arrange_list(asked, type);
  } else {
    type = choose(type, asked);
    module.class_name = type.substr(0, type.find('/'));
    if (const auto* order = module_order(type))
      for (const ChildOrder& child : *order) {
        const Asked* below = asked ? asked->child(child.name) : nullptr;
        const bool comes_along = child.only_with.empty() || (asked && asked->child(child.only_with));
        if (below || (child.without_tensors && comes_along))
          module.children.push_back(arrange(below, child.name, child.type));
      }
  }
  if (asked) {
    module.tensors = asked->tensors;
    require_all(*asked, module, type);
  }
  return module;
}

}  // namespace

ModuleTree make_module_tree(const ConfigReader& config) {
  const ModelClass& known = find_model_class(class_name_of(config), config.source());
  const Asked asked = ask(known, config);
  ModuleTree tree{.root = arrange(&asked, "", known.name)};
  if (known.complete) known.complete(tree, config);
  return tree;
}

placement::PlanOptions plan_options(const ConfigReader& config, std::optional<int64_t> dtype_bytes) {
  const ModelClass& known = find_model_class(class_name_of(config), config.source());
  return {.size = {.dtype_bytes = dtype_bytes},
          .no_split_module_classes = {known.no_split_modules.begin(), known.no_split_modules.end()},
          .rare_module_classes = {known.rare_modules.begin(), known.rare_modules.end()}};
}

}  // namespace diffract::models
