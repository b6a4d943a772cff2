#include "diffract/models/unet/unet_original_names.h"

#include <fmt/format.h>

#include <utility>

#include "diffract/models/shared/name_parts.h"

namespace diffract::models {
namespace {

using Name = std::pair<std::string_view, std::string_view>;  // the authors', diffusers'
constexpr Name kOfResnet[] = {{"in_layers.0", "norm1"},          {"in_layers.2", "conv1"},
                              {"out_layers.0", "norm2"},         {"out_layers.3", "conv2"},
                              {"emb_layers.1", "time_emb_proj"}, {"skip_connection", "conv_shortcut"}};
constexpr Name kOutsideBlocks[] = {{"time_embed.0", "time_embedding.linear_1"},
                                   {"time_embed.2", "time_embedding.linear_2"},
                                   {"label_emb.0.0", "add_embedding.linear_1"},
                                   {"label_emb.0.2", "add_embedding.linear_2"},
                                   {"out.0", "conv_norm_out"},
                                   {"out.2", "conv_out"}};

bool is_same(std::string_view text, std::string_view dotted, char separator) {
  if (text.size() != dotted.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] != (dotted[i] == '.' ? separator : dotted[i])) return false;
  return true;
}

// Writes diffusers' names with the separator.
class Writer {
 public:
  explicit Writer(char separator) : separator_(separator) {}

  std::string resnet(const std::string& block, int64_t layer, std::string_view rest) const {
    for (const auto& [original, diffusers] : kOfResnet)
      if (is_same(rest, original, separator_)) rest = diffusers;
    return join({block, "resnets", std::to_string(layer), rest});
  }
  std::string attention(const std::string& block, int64_t layer, std::string_view rest) const {
    return join({block, "attentions", std::to_string(layer), rest});
  }
  std::string block(std::string_view blocks, int64_t number) const {
    return join({blocks, std::to_string(number)});
  }
  std::string join(std::initializer_list<std::string_view> words) const {
    std::string text;
    for (const std::string_view word : words) {
      if (!text.empty()) text += separator_;
      text += word;
    }
    return text;
  }

 private:
  char separator_;
};

int64_t layers_of(const ConfigReader& unet) {
  constexpr int64_t kUsual = 2, kMost = 1 << 10;
  const bool is_there = unet.has("layers_per_block") && unet.json()["layers_per_block"].is_number();
  return is_there ? unet.integer("layers_per_block", 1, kMost) : kUsual;
}

std::string middle_module(const Writer& write, std::string_view module, char separator) {
  const auto part = take_number(module, separator);
  if (!part || *part > 2) return {};
  return *part == 1 ? write.attention("mid_block", 0, module) : write.resnet("mid_block", *part / 2, module);
}

// A block of diffusers' is `layers` resnets, with or without attentions, and a sampler.
std::string input_module(const Writer& write, std::string_view module, int64_t layers, char separator) {
  const auto n = take_number(module, separator), part = take_number(module, separator);
  // "input_blocks.0.0" has nothing behind its numbers.
  if (!n || *n == 0) return n && module == "0" ? "conv_in" : "";
  if (!part || *part > 1) return {};
  const std::string block = write.block("down_blocks", (*n - 1) / (layers + 1));
  const int64_t layer = (*n - 1) % (layers + 1);
  if (layer == layers) return module == "op" ? write.join({block, "downsamplers", "0", "conv"}) : "";
  return *part == 0 ? write.resnet(block, layer, module) : write.attention(block, layer, module);
}

std::string output_module(const Writer& write, std::string_view module, int64_t layers, char separator) {
  const auto n = take_number(module, separator), part = take_number(module, separator);
  if (!n || !part || *part > 2) return {};
  const std::string block = write.block("up_blocks", *n / (layers + 1));
  const int64_t layer = *n % (layers + 1);
  if (*part == 2 || module == "conv") return write.join({block, "upsamplers", "0", module});
  return *part == 0 ? write.resnet(block, layer, module) : write.attention(block, layer, module);
}

}  // namespace

std::string unet_block_module(std::string_view module, const ConfigReader& unet, char separator) {
  const Writer write(separator);
  const auto begins = [&](std::string_view blocks) { return take_prefix(module, write.join({blocks, ""})); };
  if (begins("middle_block")) return middle_module(write, module, separator);
  if (begins("input_blocks")) return input_module(write, module, layers_of(unet), separator);
  if (begins("output_blocks")) return output_module(write, module, layers_of(unet), separator);
  return {};
}

std::vector<weights::NamedPart> unet_original_names(const std::string& name, const ConfigReader& unet) {
  const size_t end = name.rfind('.');
  if (end == std::string::npos) return {{.name = name}};
  const std::string module = name.substr(0, end), tensor = name.substr(end);
  for (const auto& [original, diffusers] : kOutsideBlocks)
    if (module == original) return {{.name = std::string(diffusers) + tensor}};
  const std::string of_block = unet_block_module(module, unet, '.');
  return {{.name = of_block.empty() ? name : of_block + tensor}};
}

}  // namespace diffract::models
