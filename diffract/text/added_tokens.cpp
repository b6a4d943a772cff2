#include "diffract/text/added_tokens.h"

#include <algorithm>

#include "diffract/text/unicode.h"

namespace diffract::text {

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens)
    if (!token.content.empty())
      (token.normalized ? normalized_ : raw_).push_back({decode_utf8(token.content), token.id});
  for (Entries* entries : {&raw_, &normalized_})
    std::stable_sort(entries->begin(), entries->end(),
                     [](const Entry& a, const Entry& b) { return a.content.size() > b.content.size(); });
}

void AddedTokens::split_at(const Entries& tokens, std::u32string_view text,
                           const std::function<void(std::u32string_view)>& on_text,
                           const std::function<void(int64_t)>& on_id) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const Entry& token) {
      return text.substr(at).starts_with(token.content);
    });
    if (found == tokens.end()) {
      ++at;
      continue;
    }
    if (at > begin) on_text(text.substr(begin, at - begin));
    on_id(found->id);
    begin = at += found->content.size();
  }
  if (begin < text.size()) on_text(text.substr(begin));
}

void AddedTokens::split(std::u32string_view text,
                        const std::function<std::u32string(std::u32string_view)>& normalise,
                        const std::function<void(std::u32string_view)>& on_text,
                        const std::function<void(int64_t)>& on_id) const {
  split_at(
      raw_, text, [&](std::u32string_view piece) { split_at(normalized_, normalise(piece), on_text, on_id); },
      on_id);
}

}  // namespace diffract::text
