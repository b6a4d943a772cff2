#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace diffract::text {

/// The characters of UTF-8 text. Throws UsageError naming the first byte that is not UTF-8.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);
void append_utf8(std::string& to, char32_t c);

// The classes of characters as the Rust tokenizers library has them.
bool is_letter(char32_t c);          // \p{L}
bool is_number(char32_t c);          // \p{N}
bool is_space(char32_t c);           // \s
bool is_word_character(char32_t c);  // \w

/// Canonical composition (normalisation form C).
std::u32string compose(std::u32string_view text);
/// Lower case character by character, without the rules that look at a character's neighbours.
std::u32string lower(std::u32string_view text);

}  // namespace diffract::text
