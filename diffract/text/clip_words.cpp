#include "diffract/text/clip_words.h"

#include <span>

#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

constexpr std::u32string_view kEndings[] = {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"};
// Where these are not recognised as special tokens, CLIP's expression still takes them as one piece, which
// the byte-level step behind it parts again. So they only keep the marks around them out of their run.
constexpr std::u32string_view kMarkers[] = {U"<|startoftext|>", U"<|endoftext|>"};

bool is_symbol(char32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c); }

template <typename Predicate>
size_t run_length(std::u32string_view text, Predicate&& belongs) {
  size_t length = 0;
  while (length < text.size() && belongs(text[length])) ++length;
  return length;
}

}  // namespace

std::vector<std::u32string_view> split_clip_words(std::u32string_view text) {
  std::vector<std::u32string_view> words;
  const auto take = [&](size_t length) {
    words.push_back(text.substr(0, length));
    text.remove_prefix(length);
  };
  const auto take_one_of = [&](std::span<const std::u32string_view> literals) {
    for (const auto literal : literals)
      if (text.starts_with(literal)) {
        take(literal.size());
        return true;
      }
    return false;
  };
  while (!text.empty()) {
    bool marked = false;
    for (const auto marker : kMarkers) {
      if (!text.starts_with(marker)) continue;
      take(2);                  // <|
      take(marker.size() - 4);  // the word
      take(2);                  // |>
      marked = true;
      break;
    }
    if (marked || take_one_of(kEndings)) continue;
    if (is_letter(text[0])) {
      take(run_length(text, is_letter));
    } else if (is_number(text[0])) {
      take(1);
    } else if (is_symbol(text[0])) {
      take(run_length(text, is_symbol));
    } else {
      text.remove_prefix(1);
    }
  }
  return words;
}

}  // namespace diffract::text
