#include <fmt/format.h>

#include <array>
#include <optional>

#include "diffract/families/flux/flux_facts.h"

namespace diffract::families {
namespace {

using loading::LoraShare;

/// How diffusers' modules of a block stand for one of the original checkpoint, whose names most trainers use.
struct Row {
  std::string_view original;
  std::array<std::string_view, 4> modules;  // each one share of the rows; the last may take more
  int64_t last_takes = 1;
};
constexpr Row kDouble[] = {{"img_attn_qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
                           {"img_attn_proj", {"attn.to_out.0"}},
                           {"img_mlp_0", {"ff.net.0.proj"}},
                           {"img_mlp_2", {"ff.net.2"}},
                           {"img_mod_lin", {"norm1.linear"}},
                           {"txt_attn_qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
                           {"txt_attn_proj", {"attn.to_add_out"}},
                           {"txt_mlp_0", {"ff_context.net.0.proj"}},
                           {"txt_mlp_2", {"ff_context.net.2"}},
                           {"txt_mod_lin", {"norm1_context.linear"}}};
constexpr Row kSingle[] = {{"linear1", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}, 4},
                           {"linear2", {"proj_out"}},
                           {"modulation_lin", {"norm.linear"}}};

std::vector<LoraShare> shares(const Row& row, const std::string& block) {
  std::vector<LoraShare> all;
  int64_t of = 0;
  for (const std::string_view module : row.modules)
    if (!module.empty()) all.push_back({.module = block + std::string(module), .first = of++});
  all.back().count = row.last_takes;
  for (LoraShare& share : all) share.of = of - 1 + row.last_takes;
  return all;
}

// The block's number and the rest of "double_blocks_3_img_attn_qkv".
std::optional<std::pair<std::string, std::string>> split(const std::string& module, std::string_view prefix) {
  if (!module.starts_with(prefix)) return {};
  const size_t end = module.find('_', prefix.size());
  if (end == std::string::npos || end == prefix.size()) return {};
  return std::pair(module.substr(prefix.size(), end - prefix.size()), module.substr(end + 1));
}

template <typename Rows>
std::vector<LoraShare> shares_in(const std::string& module, std::string_view prefix, const char* blocks,
                                 const Rows& rows) {
  const auto parts = split(module, prefix);
  if (!parts) return {};
  for (const Row& row : rows)
    if (row.original == parts->second) return shares(row, fmt::format("{}.{}.", blocks, parts->first));
  return {};
}

}  // namespace

std::vector<LoraShare> flux_lora_shares(const std::string& module, const ConfigReader&) {
  auto found = shares_in(module, "double_blocks_", "transformer_blocks", kDouble);
  return found.empty() ? shares_in(module, "single_blocks_", "single_transformer_blocks", kSingle) : found;
}

}  // namespace diffract::families
