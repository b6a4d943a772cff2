#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract::models {

/// One child of a module in diffusers or transformers.
struct ChildOrder {
  std::string name;
  std::string type;              // a key of module_order(), or the class of a leaf
  bool without_tensors = false;  // it is there though no tensor is below it
  std::string only_with = {};    // it is there when this sibling is
};

/// The children of one class as its libraries' constructors register them, in one text: "NAME=TYPE ...", "~"
/// before one without tensors, "@SIBLING" behind one that is there when its sibling is.
struct ModuleRow {
  const char* type;
  const char* children;
};

/// The children of a class in the order of named_children, or null for one without any (a leaf).
/// A type is a class, with "/variant" where a class has more than one form; "[T]" is a ModuleList of T,
/// "(A,~B)" a ModuleList of exactly these, "A?child|B" is A where it has that child and B elsewhere.
const std::vector<ChildOrder>* module_order(std::string_view type);

}  // namespace diffract::models
