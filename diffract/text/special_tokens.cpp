#include "diffract/text/special_tokens.h"

#include "diffract/core/error.h"

namespace diffract::text {
namespace {

constexpr const char* kConfig = "/tokenizer_config.json";
constexpr const char* kMap = "/special_tokens_map.json";

}  // namespace

SpecialTokens::SpecialTokens(const TokenizerFiles& files, IdOf id_of, std::string vocabulary)
    : folder_(files.folder),
      config_(parse_object(files.tokenizer_config_json, folder_ + kConfig)),
      map_(parse_object(files.special_tokens_map_json, folder_ + kMap)),
      id_of_(std::move(id_of)),
      vocabulary_(std::move(vocabulary)) {}

SpecialTokens::Value SpecialTokens::find(const char* key) const {
  for (const auto& [json, file] : {std::pair(&config_, kConfig), std::pair(&map_, kMap)})
    if (json->contains(key) && !(*json)[key].is_null())
      return {(*json)[key], fmt::format("{}{}: \"{}\"", folder_, file, key)};
  return {nullptr, fmt::format("{}{}: \"{}\"", folder_, kConfig, key)};
}

int64_t SpecialTokens::register_token(const Value& value) {
  const Json content = value.json.is_object() ? value.json.value("content", Json()) : value.json;
  if (!content.is_string() || content.get_ref<const std::string&>().empty())
    throw CheckpointError("{}: is {}; expected a token", value.where, excerpt(value.json));
  const Json normalized = value.json.is_object() ? value.json.value("normalized", Json(false)) : Json(false);
  AddedToken token{.content = content.get<std::string>(),
                   .id = 0,
                   .normalized = normalized.is_boolean() && normalized.get<bool>()};
  token.id = id_of_(token.content);
  if (token.id < 0)
    throw CheckpointError("{}: the token \"{}\" is not in {}", value.where, token.content, vocabulary_);
  std::erase_if(tokens_, [&](const AddedToken& other) { return other.content == token.content; });
  tokens_.push_back(token);
  return token.id;
}

int64_t SpecialTokens::add(const char* key, const std::string& fallback) {
  Value value = find(key);
  if (value.json.is_null()) value.json = fallback;
  return register_token(value);
}

void SpecialTokens::add_list(const char* key, const std::vector<std::string>& fallback) {
  Value list = find(key);
  if (list.json.is_null()) list.json = fallback;
  if (!list.json.is_array() && !list.json.is_object())
    throw CheckpointError("{}: is {}; expected a list of tokens", list.where, excerpt(list.json));
  for (const Json& item : list.json) register_token({item, list.where});
}

int64_t SpecialTokens::model_max_length(int64_t fallback) const {
  const auto found = config_.find("model_max_length");
  if (found == config_.end() || found->is_null()) return fallback;
  if (found->is_number() && found->get<double>() > 1e6) return fallback;
  return ConfigReader(config_, folder_ + kConfig).integer("model_max_length", 3, 1'000'000);
}

}  // namespace diffract::text
