#include "diffract/text/clip_vocabulary.h"

#include <algorithm>
#include <set>

#include "diffract/core/error.h"
#include "diffract/core/utf8.h"
#include "diffract/text/special_tokens.h"

namespace diffract::text {
namespace {

constexpr int64_t kMaxTokens = 1 << 22;
constexpr int64_t kClipLength = 77;

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
    throw CheckpointError("{}: \"{}\" is not two tokens with a space between", where, shortened(line, 60));
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

}  // namespace

ClipVocabulary parse_clip_vocabulary(const TokenizerFiles& files) {
  ClipVocabulary v;
  Json root, added_tokens;
  if (!files.tokenizer_json.empty()) {
    v.source = files.folder + "/tokenizer.json";
    root = parse_object(files.tokenizer_json, v.source);
    const Json model = root.value("model", Json::object());
    if (!model.is_object() || model.value("type", Json("BPE")) != Json("BPE"))
      throw CheckpointError("{}: \"model\" is not a byte-pair encoding", v.source);
    v.tokens = parse_tokens(model.value("vocab", Json()), v.source);
    v.merges = parse_merge_list(model.value("merges", Json()), v.source);
    added_tokens = root.value("added_tokens", Json());
  } else {
    v.source = files.folder + "/vocab.json";
    v.tokens = parse_tokens(parse_json(files.vocab_json, v.source), v.source);
    v.merges = parse_merge_lines(files.merges_txt, files.folder + "/merges.txt");
  }
  SpecialTokens special(files, v.tokens, v.source, added_tokens);
  v.bos_id = special.add("bos_token", "<|startoftext|>");
  v.eos_id = special.add("eos_token", "<|endoftext|>");
  v.unk_id = special.add("unk_token", "<|endoftext|>");
  v.pad_id = special.add("pad_token", "<|endoftext|>");
  special.add_list("additional_special_tokens", {});
  special.add_list("extra_special_tokens", {});  // as transformers 5 names them
  v.added_tokens = special.tokens();
  v.model_max_length = special.model_max_length(kClipLength);
  v.sides = read_text_sides(files, root);
  return v;
}

}  // namespace diffract::text
