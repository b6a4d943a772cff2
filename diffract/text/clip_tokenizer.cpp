#include "diffract/text/clip_tokenizer.h"

#include "diffract/core/error.h"
#include "diffract/text/clip_words.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

std::u32string normalise(std::u32string_view text) {
  std::u32string spaced;
  for (const char32_t c : compose(text)) {
    if (!is_space(c))
      spaced += c;
    else if (spaced.empty() || spaced.back() != U' ')
      spaced += U' ';
  }
  return lower(spaced);
}

}  // namespace

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& folder) {
  return ClipTokenizer(parse_clip_vocabulary(load_tokenizer_files(folder)));
}

ClipTokenizer::ClipTokenizer(const ClipVocabulary& v)
    : byte_pair_(v.tokens, v.merges, v.unk_id, v.source),
      added_tokens_(v.added_tokens, normalise, v.source),
      bos_id_(v.bos_id),
      eos_id_(v.eos_id),
      pad_id_(v.pad_id),
      model_max_length_(v.model_max_length),
      sides_(v.sides) {
  const auto name = [&](int64_t id, const std::string& token) {
    if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
    tokens_[static_cast<size_t>(id)] = token;
  };
  for (const auto& [token, id] : v.tokens) name(id, token);
  for (const AddedToken& added : v.added_tokens) name(added.id, added.content);
}

std::string ClipTokenizer::id_to_token(int64_t id) const {
  if (id < 0 || id >= vocab_size()) throw UsageError("token id {}: expected 0 to {}", id, vocab_size() - 1);
  return tokens_[static_cast<size_t>(id)];
}

void ClipTokenizer::encode_words(std::u32string_view normalised, std::vector<int64_t>& ids) const {
  for (const auto word : split_clip_words(normalised)) byte_pair_.encode(encode_utf8(word), ids);
}

Encoding ClipTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  constexpr size_t kAround = 2;  // the start and the end token
  if (options.max_length != 0 && options.max_length < static_cast<int64_t>(kAround))
    throw UsageError("max_length {}: expected at least {}, for the start and end tokens", options.max_length,
                     kAround);
  std::vector<int64_t> ids;
  added_tokens_.split(
      decode_utf8(text), normalise, [&](std::u32string_view part) { encode_words(part, ids); },
      [&](int64_t id) { ids.push_back(id); });
  return finish_encoding(std::move(ids), {.begin = bos_id_, .end = eos_id_, .pad = pad_id_, .sides = sides_},
                         options);
}

}  // namespace diffract::text
