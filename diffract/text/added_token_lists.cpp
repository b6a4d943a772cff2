#include "diffract/text/added_token_lists.h"

#include <charconv>
#include <map>

#include "diffract/core/error.h"
#include "diffract/core/utf8.h"

namespace diffract::text {
namespace {

constexpr const char* kDecoder = "added_tokens_decoder";
constexpr int64_t kMostId = (1 << 22) - 1;

using ById = std::map<int64_t, AddedToken>;

// {"content": "<cat>", "normalized": true, ...}
AddedToken parse_token(const Json& json, int64_t id, const std::string& where) {
  if (!json.is_object()) throw CheckpointError("{}: is {}; expected an object", where, excerpt(json));
  const ConfigReader reader(json, where);
  return {.content = reader.text("content"),
          .id = id,
          .normalized = reader.boolean("normalized", !reader.boolean("special", false)),
          .single_word = reader.boolean("single_word", false),
          .lstrip = reader.boolean("lstrip", false),
          .rstrip = reader.boolean("rstrip", false)};
}

int64_t parse_id(const std::string& text, const std::string& where) {
  int64_t id = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc() || stop != end || id < 0 || id > kMostId)
    throw CheckpointError("{}: \"{}\" is no id from 0 to {}", where, shortened(text, 60), kMostId);
  return id;
}

void add_decoder(const Json& list, const std::string& where, ById& tokens) {
  if (!list.is_object())
    throw CheckpointError("{}: is {}; expected an object of ids and tokens", where, excerpt(list));
  for (const auto& [key, value] : list.items()) {
    const int64_t id = parse_id(key, where);
    tokens[id] = parse_token(value, id, fmt::format("{}: token {}", where, id));
  }
}

void add_plain_list(const TokenizerFiles& files, const std::set<std::string>& special, ById& tokens) {
  const std::string source = files.folder + "/added_tokens.json";
  const Json list = parse_object(files.added_tokens_json, source);
  for (const auto& [content, value] : list.items()) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(kMostId))
      throw CheckpointError("{}: token \"{}\" has the id {}; expected 0 to {}", source, content,
                            excerpt(value), kMostId);
    const auto id = value.get<int64_t>();
    tokens[id] = {.content = content, .id = id, .normalized = !special.contains(content)};
  }
}

void add_serialized_list(const Json& list, const std::string& source, ById& tokens) {
  if (list.is_null()) return;
  const std::string where = source + ": \"added_tokens\"";
  if (!list.is_array()) throw CheckpointError("{}: is {}; expected a list", where, excerpt(list));
  size_t place = 0;
  for (const Json& item : list) {
    const std::string named = fmt::format("{}: token {} of the list", where, ++place);
    if (!item.is_object()) throw CheckpointError("{}: is {}; expected an object", named, excerpt(item));
    const int64_t id = ConfigReader(item, named).integer("id", 0, kMostId);
    tokens[id] = parse_token(item, id, named);
  }
}

}  // namespace

bool has_added_tokens_decoder(const Json& tokenizer_config) {
  return tokenizer_config.contains(kDecoder) && !tokenizer_config[kDecoder].is_null();
}

std::vector<AddedToken> parse_added_tokens(const TokenizerFiles& files, const Json& tokenizer_config,
                                           const Json& added_tokens, const std::set<std::string>& special) {
  ById by_id;
  if (has_added_tokens_decoder(tokenizer_config)) {
    add_decoder(tokenizer_config[kDecoder],
                fmt::format("{}/tokenizer_config.json: \"{}\"", files.folder, kDecoder), by_id);
  } else {
    add_plain_list(files, special, by_id);
    add_serialized_list(added_tokens, files.folder + "/tokenizer.json", by_id);
  }
  std::vector<AddedToken> tokens;
  std::map<std::string, int64_t> seen;
  for (auto& [id, token] : by_id) {
    if (token.content.empty())
      throw CheckpointError("{}: the added token with the id {} is empty", files.folder, id);
    if (const auto [other, is_new] = seen.emplace(token.content, id); !is_new)
      throw CheckpointError("{}: the added token \"{}\" has the ids {} and {}", files.folder, token.content,
                            other->second, id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace diffract::text
