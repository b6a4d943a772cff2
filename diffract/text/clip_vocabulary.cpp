#include "diffract/text/clip_vocabulary.h"

#include <algorithm>
#include <set>

#include "diffract/core/error.h"
#include "diffract/core/file.h"

namespace diffract::text {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxBytes = 64 << 20;
constexpr int64_t kMaxTokens = 1 << 22;
constexpr int64_t kClipLength = 77;

std::string load_if_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? load_text(file, kMaxBytes) : std::string();
}

BytePair::Vocabulary parse_tokens(const Json& vocab, const std::string& source) {
  if (!vocab.is_object() || vocab.empty())
    throw CheckpointError("{}: expected an object of tokens and ids", source);
  BytePair::Vocabulary tokens;
  tokens.reserve(vocab.size());
  std::set<int64_t> ids;
  for (const auto& [token, value] : vocab.items()) {
    const bool sound =
        value.is_number_unsigned() && value.get<uint64_t>() < static_cast<uint64_t>(kMaxTokens);
    if (!sound)
      throw CheckpointError("{}: token \"{}\" has the id {}; expected 0 to {}", source, token, excerpt(value),
                            kMaxTokens - 1);
    const auto id = value.get<int64_t>();
    if (!ids.insert(id).second) throw CheckpointError("{}: two tokens have the id {}", source, id);
    tokens.emplace(token, id);
  }
  return tokens;
}

// "a b": one space, a token on each side.
std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos)
    throw CheckpointError("{}: \"{}\" is not two tokens with a space between", where, line.substr(0, 60));
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

BytePair::Merges parse_merge_lines(const std::string& text, const std::string& source) {
  BytePair::Merges merges;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    merges.push_back(split_merge(line, fmt::format("{}:{}", source, number)));
  }
  return merges;
}

BytePair::Merges parse_merge_list(const Json& list, const std::string& source) {
  if (!list.is_array()) throw CheckpointError("{}: \"merges\" is not a list", source);
  BytePair::Merges merges;
  for (const Json& item : list) {
    const std::string where = fmt::format("{}: merge {}", source, merges.size() + 1);
    if (item.is_string()) {
      merges.push_back(split_merge(item.get_ref<const std::string&>(), where));
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      merges.emplace_back(item[0].get<std::string>(), item[1].get<std::string>());
    } else {
      throw CheckpointError("{}: is {}; expected two tokens", where, excerpt(item));
    }
  }
  return merges;
}

Json parse_object(const std::string& text, const std::string& source) {
  if (text.empty()) return Json::object();
  Json json = parse_json(text, source);
  if (!json.is_object()) throw CheckpointError("{}: expected a JSON object", source);
  return json;
}

// The files' special tokens: {"bos_token": "<|startoftext|>"} or {"bos_token": {"content": ..., "normalized":
// true}}.
class SpecialTokens {
 public:
  SpecialTokens(const ClipFiles& files, ClipVocabulary& vocabulary)
      : config_source_(files.folder + "/tokenizer_config.json"),
        map_source_(files.folder + "/special_tokens_map.json"),
        config_(parse_object(files.tokenizer_config_json, config_source_)),
        map_(parse_object(files.special_tokens_map_json, map_source_)),
        vocabulary_(vocabulary) {}

  const Json& config() const { return config_; }
  const std::string& config_source() const { return config_source_; }

  // The id of the token under `key`, which is added to the special ones. A token named under several keys is
  // registered as the last of them says.
  int64_t add(const char* key, const std::string& fallback) {
    const bool in_config = config_.contains(key) && !config_[key].is_null();
    const Json& source = in_config ? config_ : map_;
    const auto where = [&] {
      return fmt::format("{}: \"{}\"", in_config ? config_source_ : map_source_, key);
    };
    SpecialToken token{.content = fallback, .id = 0, .normalized = false};
    if (source.contains(key) && !source[key].is_null()) {
      const Json& value = source[key];
      const Json& content = value.is_object() ? value.value("content", Json()) : value;
      if (!content.is_string() || content.get_ref<const std::string&>().empty())
        throw CheckpointError("{}: is {}; expected a token", where(), excerpt(value));
      token.content = content.get<std::string>();
      const Json normalized = value.is_object() ? value.value("normalized", Json(false)) : Json(false);
      token.normalized = normalized.is_boolean() && normalized.get<bool>();
    }
    const auto found = vocabulary_.tokens.find(token.content);
    if (found == vocabulary_.tokens.end())
      throw CheckpointError("{}: the token \"{}\" is not in {}", where(), token.content, vocabulary_.source);
    token.id = found->second;
    auto& all = vocabulary_.special_tokens;
    std::erase_if(all, [&](const SpecialToken& other) { return other.content == token.content; });
    all.push_back(token);
    return token.id;
  }

 private:
  std::string config_source_, map_source_;
  Json config_, map_;
  ClipVocabulary& vocabulary_;
};

int64_t max_length(const Json& config, const std::string& source) {
  const auto found = config.find("model_max_length");
  if (found == config.end() || found->is_null()) return kClipLength;
  // transformers writes 1e30 where it knows no limit.
  if (found->is_number() && found->get<double>() > 1e6) return kClipLength;
  return ConfigReader(config, source).integer("model_max_length", 3, 1'000'000);
}

}  // namespace

ClipVocabulary parse_clip_vocabulary(const ClipFiles& files) {
  ClipVocabulary v;
  if (!files.tokenizer_json.empty()) {
    v.source = files.folder + "/tokenizer.json";
    const Json root = parse_object(files.tokenizer_json, v.source);
    const Json model = root.value("model", Json::object());
    if (!model.is_object() || model.value("type", Json("BPE")) != Json("BPE"))
      throw CheckpointError("{}: \"model\" is not a byte-pair encoding", v.source);
    v.tokens = parse_tokens(model.value("vocab", Json()), v.source);
    v.merges = parse_merge_list(model.value("merges", Json()), v.source);
  } else {
    v.source = files.folder + "/vocab.json";
    v.tokens = parse_tokens(parse_json(files.vocab_json, v.source), v.source);
    v.merges = parse_merge_lines(files.merges_txt, files.folder + "/merges.txt");
  }
  SpecialTokens special(files, v);
  v.bos_id = special.add("bos_token", "<|startoftext|>");
  v.eos_id = special.add("eos_token", "<|endoftext|>");
  v.unk_id = special.add("unk_token", "<|endoftext|>");
  v.pad_id = special.add("pad_token", "<|endoftext|>");
  v.model_max_length = max_length(special.config(), special.config_source());
  return v;
}

ClipVocabulary load_clip_vocabulary(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    throw CheckpointError("{}: no such folder; expected a tokenizer's", folder.string());
  ClipFiles files{.tokenizer_json = load_if_there(folder / "tokenizer.json"),
                  .vocab_json = {},
                  .merges_txt = {},
                  .tokenizer_config_json = load_if_there(folder / "tokenizer_config.json"),
                  .special_tokens_map_json = load_if_there(folder / "special_tokens_map.json"),
                  .folder = folder.string()};
  if (!fs::exists(folder / "tokenizer.json", ignored)) {
    files.vocab_json = load_text(folder / "vocab.json", kMaxBytes);
    files.merges_txt = load_text(folder / "merges.txt", kMaxBytes);
  } else if (files.tokenizer_json.empty()) {
    throw CheckpointError("{}: is empty", (folder / "tokenizer.json").string());
  }
  return parse_clip_vocabulary(files);
}

}  // namespace diffract::text
