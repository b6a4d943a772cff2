#include "diffract/models/module_order.h"

#include <unordered_map>

#include "diffract/core/error.h"
#include "diffract/models/model_class.h"

namespace diffract::models {
namespace {

// Modules of several models. As the constructors of diffusers 0.42 register them; tests/models compares them.
constexpr ModuleRow kShared[] = {
    {"TimestepEmbedding", "linear_1=Linear cond_proj=Linear ~act=SiLU linear_2=Linear"},
    {"FeedForward/GELU", "net=(GELU,~Dropout,Linear)"},
    {"FeedForward/GEGLU", "net=(GEGLU,~Dropout,Linear)"},
    {"GELU", "proj=Linear"},
    {"GEGLU", "proj=Linear"},
    {"Attention",
     "group_norm=GroupNorm to_q=Linear to_k=Linear to_v=Linear to_out=(Linear,~Dropout) "
     "processor=IPAdapterAttnProcessor2_0"},
    {"ResnetBlock2D",
     "norm1=GroupNorm conv1=Conv2d time_emb_proj=Linear norm2=GroupNorm ~dropout=Dropout conv2=Conv2d "
     "~nonlinearity=SiLU conv_shortcut=Conv2d"},
    {"Downsample2D", "conv=Conv2d"},
    {"Upsample2D", "conv=Conv2d"}};

ChildOrder parse_child(std::string_view text) {
  ChildOrder child;
  if (text.starts_with('~')) {
    child.without_tensors = true;
    text.remove_prefix(1);
  }
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    child.only_with = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const size_t equals = text.find('=');
  child.name = text.substr(0, equals);
  child.type = text.substr(equals + 1);
  return child;
}

std::unordered_map<std::string, std::vector<ChildOrder>> parse_lines() {
  std::unordered_map<std::string, std::vector<ChildOrder>> orders;
  const auto add = [&](const ModuleRow& row) {
    std::string_view rest = row.children;
    auto& children = orders[row.type];
    if (!children.empty()) throw InternalError("module_order: {} stands in two places", row.type);
    while (!rest.empty()) {
      const std::string_view word = rest.substr(0, rest.find(' '));
      children.push_back(parse_child(word));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    }
  };
  for (const ModuleRow& row : kShared) add(row);
  for (const ModelClass* known : model_classes())
    for (const ModuleRow& row : known->modules) add(row);
  return orders;
}

}  // namespace

const std::vector<ChildOrder>* module_order(std::string_view type) {
  static const auto orders = parse_lines();
  const auto found = orders.find(std::string(type));
  return found == orders.end() ? nullptr : &found->second;
}

}  // namespace diffract::models
