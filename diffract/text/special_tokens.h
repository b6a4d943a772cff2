#pragma once
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/text/added_tokens.h"
#include "diffract/text/tokenizer_files.h"

namespace diffract::text {

/// The tokens that are looked for in a text before it is cut into those of the vocabulary: those that the
/// files list (parse_added_tokens), and the special tokens that special_tokens_map.json names, or else
/// tokenizer_config.json: {"bos_token": "<s>"} or {"bos_token": {"content": "<s>", "normalized": true}}.
/// Beside an "added_tokens_decoder" special_tokens_map.json is not read. All this is transformers' order.
class SpecialTokens {
 public:
  using Vocabulary = std::unordered_map<std::string, int64_t>;
  /// `vocabulary` is kept by reference; `source` names its file in messages. `added_tokens` is
  /// tokenizer.json's list of them, or null. Throws CheckpointError for a listed token that contradicts the
  /// vocabulary.
  SpecialTokens(const TokenizerFiles& files, const Vocabulary& vocabulary, std::string source,
                const Json& added_tokens);

  /// The id of the token under `key`, or of `fallback` where neither file has the key; registers it. A token
  /// that stands under several keys is registered as the last of them says, one that is listed as the list
  /// says. Throws CheckpointError when it is neither listed nor in the vocabulary.
  int64_t add(const char* key, const std::string& fallback);
  /// The same for each token of a list, or of an object's values; `fallback` where neither file has the key.
  void add_list(const char* key, const std::vector<std::string>& fallback);
  /// "model_max_length"; `fallback` where it is missing, or larger than any model's, as transformers writes
  /// it where it knows none.
  int64_t model_max_length(int64_t fallback) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  struct Value {
    Json json;  // null where neither file has the key
    std::string where;
  };
  Value find(const char* key) const;
  std::set<std::string> names() const;
  void register_listed(std::vector<AddedToken> listed);
  int64_t register_token(const Value& value);

  std::string folder_;
  Json config_, map_;
  const Vocabulary& vocabulary_;
  std::string source_;
  std::vector<AddedToken> tokens_;
  Vocabulary listed_;  // those of tokens_ that the files list
};

}  // namespace diffract::text
