#include "diffract/text/t5_tokenizer.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

constexpr char32_t kWordMark = U'▁';  // stands at the beginning of a word

}  // namespace

T5Tokenizer T5Tokenizer::load(const std::filesystem::path& folder) {
  return T5Tokenizer(parse_t5_vocabulary(load_tokenizer_files(folder)));
}

T5Tokenizer::T5Tokenizer(T5Vocabulary v)
    : charsmap_(v.precompiled_charsmap.empty() ? PrecompiledCharsmap()
                                               : PrecompiledCharsmap(v.precompiled_charsmap, v.source)),
      added_tokens_(
          v.added_tokens, [this](std::u32string_view text) { return charsmap_.normalise(text); }, v.source),
      unigram_(std::move(v.pieces), v.unk_id, v.source),
      eos_id_(v.eos_id),
      pad_id_(v.pad_id),
      model_max_length_(v.model_max_length),
      sides_(v.sides) {
  const auto pieces = static_cast<int64_t>(unigram_.pieces().size());
  vocab_size_ = pieces;
  for (const AddedToken& token : v.added_tokens) {
    if (token.id < pieces) continue;
    tokens_behind_.emplace(token.id, token.content);
    vocab_size_ = std::max(vocab_size_, token.id + 1);
  }
}

std::string T5Tokenizer::id_to_token(int64_t id) const {
  if (id < 0 || id >= vocab_size()) throw UsageError("token id {}: expected 0 to {}", id, vocab_size() - 1);
  if (id < static_cast<int64_t>(unigram_.pieces().size()))
    return unigram_.pieces()[static_cast<size_t>(id)].text;
  const auto token = tokens_behind_.find(id);
  return token == tokens_behind_.end() ? std::string() : token->second;
}

void T5Tokenizer::encode_words(std::u32string_view normalised, std::vector<int64_t>& ids) const {
  std::u32string word;
  const auto flush = [&] {
    if (!word.empty()) unigram_.encode(encode_utf8(word), ids);
    word.clear();
  };
  for (const char32_t c : normalised) {
    if (is_space(c)) {
      flush();
      continue;
    }
    if (c == kWordMark)  // in the text itself: it begins a word too
      flush();
    else if (word.empty())
      word += kWordMark;
    word += c;
  }
  flush();
}

Encoding T5Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (options.max_length < 0)
    throw UsageError("max_length {}: expected at least 1, for the end token", options.max_length);
  std::vector<int64_t> ids;
  added_tokens_.split(
      decode_utf8(text), [&](std::u32string_view piece) { return charsmap_.normalise(piece); },
      [&](std::u32string_view part) { encode_words(part, ids); }, [&](int64_t id) { ids.push_back(id); });
  return finish_encoding(std::move(ids), {.begin = {}, .end = eos_id_, .pad = pad_id_, .sides = sides_},
                         options);
}

}  // namespace diffract::text
