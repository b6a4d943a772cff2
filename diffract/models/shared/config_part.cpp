#include "diffract/models/shared/config_part.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

ConfigReader part(const ConfigReader& config, const std::string& key) {
  return {config.json()[key], fmt::format("{}: \"{}\"", config.source(), key)};
}

ConfigReader find_part(const ConfigReader& config, const ConfigPart& wanted) {
  const Json& all = config.json();
  if (all.contains(wanted.key) && all[wanted.key].is_object()) return part(config, wanted.key);
  const auto is_of_type = [&](const Json& value) {
    return value.is_object() && value.contains("model_type") &&
           value["model_type"] == Json(wanted.model_type);
  };
  if (all.contains("model_type") && !is_of_type(all))
    for (const auto& [key, value] : all.items())
      if (is_of_type(value)) return part(config, key);
  return config;
}

}  // namespace

ConfigReader config_part(const ConfigReader& config, const ConfigPart& wanted,
                         const std::vector<const char*>& keys) {
  ConfigReader found = find_part(config, wanted);
  if (std::none_of(keys.begin(), keys.end(), [&](const char* key) { return found.has(key); }))
    throw CheckpointError("{}: has none of a {} model's keys ({}). Is it another model's config?",
                          found.source(), wanted.what, fmt::join(keys, ", "));
  return found;
}

}  // namespace diffract::models
