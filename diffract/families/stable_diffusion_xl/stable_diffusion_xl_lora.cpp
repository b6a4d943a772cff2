#include <array>
#include <charconv>
#include <optional>

#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl_facts.h"

namespace diffract::families {
namespace {

// The number that `text` begins with, taken off it with the "_" behind it.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto length = static_cast<size_t>(end - text.data());
  if (failure != std::errc() || number < 0 || length >= text.size() || text[length] != '_') return {};
  text.remove_prefix(length + 1);
  return number;
}

struct Name {
  std::string_view original, diffusers;
};
constexpr std::array<Name, 4> kOfResnet = {{{"in_layers_2", "conv1"},
                                            {"out_layers_3", "conv2"},
                                            {"emb_layers_1", "time_emb_proj"},
                                            {"skip_connection", "conv_shortcut"}}};

std::string of_resnet(std::string_view rest) {
  for (const Name& name : kOfResnet)
    if (rest == name.original) return std::string(name.diffusers);
  return std::string(rest);
}

// The module of a block of `layers` layers that is the original's number `n`: its first part is a resnet, its
// second an attention.
std::string of_layer(const char* blocks, int64_t n, int64_t layers, int64_t part, std::string_view rest) {
  const std::string block = std::string(blocks) + "_" + std::to_string(n / layers) + "_",
                    layer = "_" + std::to_string(n % layers) + "_";
  return part == 0 ? block + "resnets" + layer + of_resnet(rest)
                   : block + "attentions" + layer + std::string(rest);
}

// As kohya's trainer writes it, with "_" for "."; empty: not one of the original's names.
std::string diffusers_name(std::string_view module, int64_t layers_per_block) {
  constexpr std::string_view kInput = "input_blocks_", kMiddle = "middle_block_", kOutput = "output_blocks_";
  const auto begins = [&](std::string_view prefix) {
    const bool does = module.starts_with(prefix);
    if (does) module.remove_prefix(prefix.size());
    return does;
  };
  if (begins(kMiddle)) {
    const auto part = take_number(module);
    if (!part || *part > 2) return {};
    if (*part == 1) return "mid_block_attentions_0_" + std::string(module);
    return "mid_block_resnets_" + std::to_string(*part / 2) + "_" + of_resnet(module);
  }
  const bool is_input = begins(kInput);
  if (!is_input && !begins(kOutput)) return {};
  const auto n = take_number(module), part = take_number(module);
  const int64_t layers = layers_per_block + 1;  // of an input block the last is its downsampler
  if (!n || !part || *part > 2) return {};
  if (!is_input)
    return *part == 2 || module.starts_with("conv")
               ? "up_blocks_" + std::to_string(*n / layers) + "_upsamplers_0_" + std::string(module)
               : of_layer("up_blocks", *n, layers, *part, module);
  if (*n == 0) return "conv_in";
  if ((*n - 1) % layers == layers_per_block)
    return "down_blocks_" + std::to_string((*n - 1) / layers) + "_downsamplers_0_conv";
  return of_layer("down_blocks", *n - 1, layers, *part, module);
}

}  // namespace

std::vector<loading::LoraShare> stable_diffusion_xl_lora_shares(const std::string& module,
                                                                const ConfigReader& unet) {
  constexpr int64_t kMostLayers = 1 << 10;
  const int64_t layers_per_block = unet.has("layers_per_block") && unet.json()["layers_per_block"].is_number()
                                       ? unet.integer("layers_per_block", 1, kMostLayers)
                                       : 2;
  std::string name = diffusers_name(module, layers_per_block);
  if (name.empty()) return {};
  return {{.module = std::move(name)}};
}

}  // namespace diffract::families
