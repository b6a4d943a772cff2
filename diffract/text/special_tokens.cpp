#include "diffract/text/special_tokens.h"

#include <unordered_set>

#include "diffract/core/error.h"
#include "diffract/text/added_token_lists.h"

namespace diffract::text {
namespace {

constexpr const char* kConfig = "/tokenizer_config.json";
constexpr const char* kMap = "/special_tokens_map.json";

}  // namespace

SpecialTokens::SpecialTokens(const TokenizerFiles& files, const Vocabulary& vocabulary, std::string source,
                             const Json& added_tokens)
    : folder_(files.folder),
      config_(parse_object(files.tokenizer_config_json, folder_ + kConfig)),
      map_(has_added_tokens_decoder(config_) ? Json::object()
                                             : parse_object(files.special_tokens_map_json, folder_ + kMap)),
      vocabulary_(vocabulary),
      source_(std::move(source)) {
  register_listed(parse_added_tokens(files, config_, added_tokens, names()));
}

SpecialTokens::Value SpecialTokens::find(const char* key) const {
  for (const auto& [json, file] : {std::pair(&map_, kMap), std::pair(&config_, kConfig)})
    if (json->contains(key) && !(*json)[key].is_null())
      return {(*json)[key], fmt::format("{}{}: \"{}\"", folder_, file, key)};
  return {nullptr, fmt::format("{}{}: \"{}\"", folder_, kConfig, key)};
}

// The tokens that transformers takes for special in added_tokens.json; not those of special_tokens_map.json's
// "additional_special_tokens".
std::set<std::string> SpecialTokens::names() const {
  std::set<std::string> names;
  const auto insert = [&](const Json& token) {
    const Json content = token.is_object() ? token.value("content", Json()) : token;
    if (content.is_string()) names.insert(content.get<std::string>());
  };
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    insert(find(key).json);
  for (const auto& [json, key] :
       {std::pair(&config_, "additional_special_tokens"), std::pair(&config_, "extra_special_tokens"),
        std::pair(&map_, "extra_special_tokens")})
    if (json->contains(key) && (*json)[key].is_array())
      for (const Json& token : (*json)[key]) insert(token);
  return names;
}

void SpecialTokens::register_listed(std::vector<AddedToken> listed) {
  std::unordered_set<int64_t> taken;  // filled when a listed token is not in the vocabulary
  for (AddedToken& token : listed) {
    if (const auto known = vocabulary_.find(token.content); known != vocabulary_.end()) {
      if (known->second != token.id)
        throw CheckpointError("{}: the added token \"{}\" is listed with the id {}, but has the id {} in {}",
                              folder_, token.content, token.id, known->second, source_);
    } else {
      if (taken.empty())
        for (const auto& [text, id] : vocabulary_) taken.insert(id);
      if (taken.contains(token.id))
        throw CheckpointError(
            "{}: the added token \"{}\" is listed with the id {}, which is another token's in {}", folder_,
            token.content, token.id, source_);
    }
    listed_.emplace(token.content, token.id);
    tokens_.push_back(std::move(token));
  }
}

int64_t SpecialTokens::register_token(const Value& value) {
  const Json content = value.json.is_object() ? value.json.value("content", Json()) : value.json;
  if (!content.is_string() || content.get_ref<const std::string&>().empty())
    throw CheckpointError("{}: is {}; expected a token", value.where, excerpt(value.json));
  const auto& text = content.get_ref<const std::string&>();
  if (const auto listed = listed_.find(text); listed != listed_.end()) return listed->second;
  const auto known = vocabulary_.find(text);
  if (known == vocabulary_.end())
    throw CheckpointError("{}: the token \"{}\" is not in {}", value.where, text, source_);
  const Json flags = value.json.is_object() ? value.json : Json::object();
  const ConfigReader reader(flags, value.where);
  std::erase_if(tokens_, [&](const AddedToken& other) { return other.content == text; });
  tokens_.push_back({.content = text,
                     .id = known->second,
                     .normalized = reader.boolean("normalized", false),
                     .single_word = reader.boolean("single_word", false),
                     .lstrip = reader.boolean("lstrip", false),
                     .rstrip = reader.boolean("rstrip", false)});
  return known->second;
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
