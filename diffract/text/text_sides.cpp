#include "diffract/text/text_sides.h"

#include "diffract/core/error.h"

namespace diffract::text {
namespace {

// The tokenizers library writes its directions with a capital.
Side read_direction(const Json& tokenizer_json, const char* section, const std::string& source) {
  const auto found = tokenizer_json.find(section);
  if (found == tokenizer_json.end() || !found->is_object()) return Side::right;
  const ConfigReader reader(*found, fmt::format("{}: \"{}\"", source, section));
  return reader.choice("direction", {"Left", "Right"}, "Right") == "Left" ? Side::left : Side::right;
}

}  // namespace

TextSides read_text_sides(const TokenizerFiles& files, const Json& tokenizer_json) {
  const std::string source = files.folder + "/tokenizer_config.json";
  const ConfigReader config(parse_object(files.tokenizer_config_json, source), source);
  const auto side = [&](const char* key, const char* section) {
    if (config.has(key)) return config.choice(key, {"left", "right"}) == "left" ? Side::left : Side::right;
    return tokenizer_json.is_object()
               ? read_direction(tokenizer_json, section, files.folder + "/tokenizer.json")
               : Side::right;
  };
  return {.truncation = side("truncation_side", "truncation"), .padding = side("padding_side", "padding")};
}

}  // namespace diffract::text
