#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "diffract/text/precompiled_charsmap.h"
#include "diffract/text/t5_vocabulary.h"
#include "diffract/text/tokenizer.h"

namespace diffract::text {

/// T5's tokenizer: normalised text, split at white space, each word cut into the likeliest pieces, an end
/// token behind. Gives the ids of transformers' T5Tokenizer on any text.
class T5Tokenizer final : public Tokenizer {
 public:
  /// Reads a `tokenizer_2/` folder. Throws CheckpointError naming the file and what is wrong.
  static T5Tokenizer load(const std::filesystem::path& folder);
  explicit T5Tokenizer(T5Vocabulary vocabulary);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  std::string id_to_token(int64_t id) const override;
  int64_t model_max_length() const override { return model_max_length_; }
  int64_t vocab_size() const override { return vocab_size_; }

 private:
  void encode_words(std::u32string_view normalised, std::vector<int64_t>& ids) const;

  PrecompiledCharsmap charsmap_;
  AddedTokens added_tokens_;
  Unigram unigram_;
  std::map<int64_t, std::string> tokens_behind_;  // by id: added tokens that are no pieces
  int64_t eos_id_, pad_id_, model_max_length_;
  TextSides sides_;
  int64_t vocab_size_;
};

}  // namespace diffract::text
