#include "diffract/models/text/text_config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

ConfigReader part(const ConfigReader& config, const std::string& key) {
  return {config.json()[key], fmt::format("{}: \"{}\"", config.source(), key)};
}

ConfigReader find_part(const ConfigReader& config, std::string_view model_type) {
  const Json& all = config.json();
  if (all.contains("text_config") && all["text_config"].is_object()) return part(config, "text_config");
  const auto is_of_type = [&](const Json& value) {
    return value.is_object() && value.contains("model_type") && value["model_type"] == Json(model_type);
  };
  if (all.contains("model_type") && !is_of_type(all))
    for (const auto& [key, value] : all.items())
      if (is_of_type(value)) return part(config, key);
  return config;
}

}  // namespace

ConfigReader text_part_of(const ConfigReader& config, std::string_view model_type,
                          const std::vector<const char*>& keys) {
  ConfigReader found = find_part(config, model_type);
  if (std::none_of(keys.begin(), keys.end(), [&](const char* key) { return found.has(key); }))
    throw CheckpointError("{}: has none of a text model's keys ({}). Is it another model's config?",
                          found.source(), fmt::join(keys, ", "));
  return found;
}

}  // namespace diffract::models
