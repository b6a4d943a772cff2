#include "diffract/text/added_tokens.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

bool stands_alone(std::u32string_view text, size_t begin, size_t end) {
  return (begin == 0 || !is_word_character(text[begin - 1])) &&
         (end == text.size() || !is_word_character(text[end]));
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Normalise& normalise,
                         const std::string& source) {
  for (const AddedToken& token : tokens) {
    std::u32string content = decode_utf8(token.content);
    if (token.normalized) content = normalise(content);
    if (content.empty())
      throw CheckpointError("{}: the added token \"{}\" is empty once it is normalised", source,
                            token.content);
    (token.normalized ? normalized_ : raw_)
        .push_back({.content = std::move(content),
                    .id = token.id,
                    .single_word = token.single_word,
                    .lstrip = token.lstrip,
                    .rstrip = token.rstrip});
  }
  for (Entries* entries : {&raw_, &normalized_})
    std::stable_sort(entries->begin(), entries->end(),
                     [](const Entry& a, const Entry& b) { return a.content.size() > b.content.size(); });
}

// Source: tokenizers' AddedVocabulary::find_matches.
void AddedTokens::split_at(const Entries& tokens, std::u32string_view text,
                           const std::function<void(std::u32string_view)>& on_text,
                           const std::function<void(int64_t)>& on_id) {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const Entry& token) {
      return text.substr(at).starts_with(token.content);
    });
    if (found == tokens.end()) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + found->content.size();
    at = end;
    if (found->single_word && !stands_alone(text, begin, end)) continue;
    while (found->lstrip && begin > done && is_space(text[begin - 1])) --begin;
    while (found->rstrip && end < text.size() && is_space(text[end])) ++end;
    if (begin > done) on_text(text.substr(done, begin - done));
    on_id(found->id);
    done = end;
  }
  if (done < text.size()) on_text(text.substr(done));
}

void AddedTokens::split(std::u32string_view text, const Normalise& normalise,
                        const std::function<void(std::u32string_view)>& on_text,
                        const std::function<void(int64_t)>& on_id) const {
  split_at(
      raw_, text, [&](std::u32string_view piece) { split_at(normalized_, normalise(piece), on_text, on_id); },
      on_id);
}

}  // namespace diffract::text
