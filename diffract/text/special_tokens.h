#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffract/text/added_tokens.h"
#include "diffract/text/tokenizer_files.h"

namespace diffract::text {

/// The special tokens that tokenizer_config.json names, or else special_tokens_map.json: {"bos_token": "<s>"}
/// or {"bos_token": {"content": "<s>", "normalized": true}}.
class SpecialTokens {
 public:
  using IdOf = std::function<int64_t(const std::string&)>;  // -1 for what is not in the vocabulary
  /// `vocabulary` names the vocabulary's file in messages.
  SpecialTokens(const TokenizerFiles& files, IdOf id_of, std::string vocabulary);

  /// The id of the token under `key`, or of `fallback` where neither file has the key; registers it. A token
  /// that stands under several keys is registered as the last of them says. Throws CheckpointError when it is
  /// no token of the vocabulary.
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
  int64_t register_token(const Value& value);

  std::string folder_;
  Json config_, map_;
  IdOf id_of_;
  std::string vocabulary_;
  std::vector<AddedToken> tokens_;
};

}  // namespace diffract::text
