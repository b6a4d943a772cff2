#include "diffract/models/text/clip_original_names.h"

#include <fmt/format.h>

#include <utility>

#include "diffract/models/shared/name_parts.h"

namespace diffract::models {
namespace {

using weights::NamedPart;
using Name = std::pair<std::string_view, std::string_view>;  // OpenCLIP's, transformers'
constexpr Name kOutsideLayers[] = {{"positional_embedding", "embeddings.position_embedding.weight"},
                                   {"token_embedding.weight", "embeddings.token_embedding.weight"},
                                   {"ln_final.weight", "final_layer_norm.weight"},
                                   {"ln_final.bias", "final_layer_norm.bias"}};
constexpr Name kOfLayer[] = {{"ln_1.", "layer_norm1."},
                             {"ln_2.", "layer_norm2."},
                             {"mlp.c_fc.", "mlp.fc1."},
                             {"mlp.c_proj.", "mlp.fc2."},
                             {"attn.out_proj.", "self_attn.out_proj."}};

// Queries, keys and values, in one.
std::vector<NamedPart> of_projection(const std::string& layer, std::string_view tensor) {
  std::vector<NamedPart> parts;
  for (const char* name : {"q_proj", "k_proj", "v_proj"})
    parts.push_back({.name = fmt::format("{}self_attn.{}.{}", layer, name, tensor),
                     .part = {.share = parts.size(), .shares = 3}});
  return parts;
}

std::vector<NamedPart> of_layer(std::string_view rest, int64_t layers) {
  const auto number = take_number(rest);
  // Stable Diffusion 2 leaves the last layer out.
  if (!number || *number >= layers) return {};
  const std::string layer = fmt::format("text_model.encoder.layers.{}.", *number);
  if (take_prefix(rest, "attn.in_proj_")) return of_projection(layer, rest);
  for (const auto& [original, transformers] : kOfLayer)
    if (take_prefix(rest, original)) return {{.name = fmt::format("{}{}{}", layer, transformers, rest)}};
  return {};
}

}  // namespace

std::vector<NamedPart> clip_original_names(const std::string& name, const ConfigReader& encoder,
                                           bool has_projection) {
  constexpr int64_t kMostLayers = 1000, kUsual = 12;
  std::string_view rest = name;
  if (take_prefix(rest, "transformer.resblocks."))
    return of_layer(rest, encoder.integer("num_hidden_layers", 1, kMostLayers, kUsual));
  for (const auto& [original, transformers] : kOutsideLayers)
    if (name == original) return {{.name = fmt::format("text_model.{}", transformers)}};
  if (name == "text_projection") {
    if (!has_projection) return {};
    return {{.name = "text_projection.weight", .part = {.is_transposed = true}}};
  }
  if (name == "logit_scale" || name == "attn_mask") return {};  // of training
  return {{.name = name}};
}

}  // namespace diffract::models
