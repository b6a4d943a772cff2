#pragma once
#include <filesystem>

#include "diffract/text/clip_vocabulary.h"
#include "diffract/text/tokenizer.h"

namespace diffract::text {

/// CLIP's tokenizer: normalised, lower-cased text, split into words, byte-pair encoded, between a start and
/// an end token. Gives the ids of transformers' CLIPTokenizer on any text.
class ClipTokenizer final : public Tokenizer {
 public:
  /// Reads a `tokenizer/` folder. Throws CheckpointError naming the file and what is wrong.
  static ClipTokenizer load(const std::filesystem::path& folder);
  explicit ClipTokenizer(const ClipVocabulary& vocabulary);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  std::string id_to_token(int64_t id) const override;
  int64_t model_max_length() const override { return model_max_length_; }
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }

 private:
  void encode_words(std::u32string_view normalised, std::vector<int64_t>& ids) const;

  BytePair byte_pair_;
  AddedTokens added_tokens_;
  std::vector<std::string> tokens_;  // by id; empty where the vocabulary has a gap
  int64_t bos_id_, eos_id_, pad_id_, model_max_length_;
  TextSides sides_;
};

}  // namespace diffract::text
