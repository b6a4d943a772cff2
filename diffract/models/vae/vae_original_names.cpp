#include "diffract/models/vae/vae_original_names.h"

#include <fmt/format.h>

#include <utility>

#include "diffract/models/shared/name_parts.h"

namespace diffract::models {
namespace {

using Name = std::pair<std::string_view, std::string_view>;  // the authors', diffusers'
constexpr Name kOfAttention[] = {
    {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};

std::string renamed(std::string_view module, const Name& name) {
  return std::string(module == name.first ? name.second : module);
}

std::string of_resnet(const std::string& block, int64_t layer, std::string_view rest) {
  return fmt::format("{}.resnets.{}.{}", block, layer, renamed(rest, {"nin_shortcut", "conv_shortcut"}));
}

std::string of_attention(std::string_view rest) {
  for (const auto& [original, diffusers] : kOfAttention)
    if (rest == original) rest = diffusers;
  return fmt::format("mid_block.attentions.0.{}", rest);
}

std::string of_block(const std::string& block, std::string_view rest, const char* sampler,
                     const char* samplers) {
  if (take_prefix(rest, "block.")) {
    const auto layer = take_number(rest);
    return layer ? of_resnet(block, *layer, rest) : "";
  }
  if (take_prefix(rest, sampler)) return fmt::format("{}.{}.0{}", block, samplers, rest);
  return {};
}

// A module of the encoder or the decoder; empty: none of the authors' names.
std::string half_module(std::string_view module, int64_t levels) {
  if (module == "norm_out") return "conv_norm_out";
  if (take_prefix(module, "mid.attn_1.")) return of_attention(module);
  if (take_prefix(module, "mid.block_")) {  // from 1
    const auto number = take_number(module);
    return number && *number > 0 ? of_resnet("mid_block", *number - 1, module) : "";
  }
  const bool is_down = module.starts_with("down.");
  if (!take_prefix(module, is_down ? "down." : "up.")) return {};
  const auto level = take_number(module);
  if (!level || *level >= levels) return {};
  if (is_down) return of_block(fmt::format("down_blocks.{}", *level), module, "downsample", "downsamplers");
  // The authors count from the finest.
  return of_block(fmt::format("up_blocks.{}", levels - 1 - *level), module, "upsample", "upsamplers");
}

}  // namespace

std::vector<weights::NamedPart> vae_original_names(const std::string& name, const ConfigReader& vae) {
  const size_t end = name.rfind('.'), begin = name.find('.');
  if (end == std::string::npos || begin == end) return {{.name = name}};
  const std::string half = name.substr(0, begin), module = name.substr(begin + 1, end - begin - 1);
  if (half != "encoder" && half != "decoder") return {{.name = name}};
  constexpr int64_t kMostChannels = 1 << 16;
  const auto levels = static_cast<int64_t>(
      vae.integers("block_out_channels", 1, kMostChannels, {}, std::vector<int64_t>{64}).size());
  const std::string found = half_module(module, levels);
  if (found.empty()) return {{.name = name}};
  return {{.name = fmt::format("{}.{}{}", half, found, name.substr(end)),
           .part = {.is_pointwise = found.starts_with("mid_block.attentions")}}};
}

}  // namespace diffract::models
