#include "diffract/text/clip_tokenizer.h"

#include <algorithm>

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
  return ClipTokenizer(load_clip_vocabulary(folder));
}

ClipTokenizer::ClipTokenizer(const ClipVocabulary& v)
    : byte_pair_(v.tokens, v.merges, v.unk_id, v.source),
      bos_id_(v.bos_id),
      eos_id_(v.eos_id),
      pad_id_(v.pad_id),
      model_max_length_(v.model_max_length) {
  for (const auto& token : v.special_tokens)
    special_tokens_.push_back({decode_utf8(token.content), token.id, token.normalized});
  for (const auto& [token, id] : v.tokens) {
    if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1);
    tokens_[static_cast<size_t>(id)] = token;
  }
}

std::string ClipTokenizer::id_to_token(int64_t id) const {
  if (id < 0 || id >= vocab_size()) throw UsageError("token id {}: expected 0 to {}", id, vocab_size() - 1);
  return tokens_[static_cast<size_t>(id)];
}

template <typename Text, typename Found>
void ClipTokenizer::split_special(std::u32string_view text, bool normalized, Text&& on_text,
                                  Found&& on_found) const {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Special* longest = nullptr;
    for (const Special& token : special_tokens_)
      if (token.normalized == normalized && text.substr(at).starts_with(token.content) &&
          (!longest || token.content.size() > longest->content.size()))
        longest = &token;
    if (!longest) {
      ++at;
      continue;
    }
    if (at > begin) on_text(text.substr(begin, at - begin));
    on_found(longest->id);
    begin = at += longest->content.size();
  }
  if (begin < text.size()) on_text(text.substr(begin));
}

void ClipTokenizer::encode_words(std::u32string_view normalised, std::vector<int64_t>& ids) const {
  for (const auto word : split_clip_words(normalised)) byte_pair_.encode(encode_utf8(word), ids);
}

Encoding ClipTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  constexpr size_t kAround = 2;  // the start and the end token
  if (options.max_length != 0 && options.max_length < static_cast<int64_t>(kAround))
    throw UsageError("max_length {}: expected at least {}, for the start and end tokens", options.max_length,
                     kAround);
  Encoding result;
  auto& ids = result.input_ids;
  ids.push_back(bos_id_);
  const auto add = [&](int64_t id) { ids.push_back(id); };
  split_special(
      decode_utf8(text), /*normalized=*/false,
      [&](std::u32string_view piece) {
        split_special(
            normalise(piece), /*normalized=*/true, [&](std::u32string_view part) { encode_words(part, ids); },
            add);
      },
      add);
  const auto length = static_cast<size_t>(options.max_length);
  if (length > 0 && ids.size() + 1 > length) {
    result.cut_tokens = static_cast<int64_t>(ids.size() + 1 - length);
    ids.resize(length - 1);
  }
  ids.push_back(eos_id_);
  if (options.pad && ids.size() < length) ids.resize(length, pad_id_);
  return result;
}

}  // namespace diffract::text
