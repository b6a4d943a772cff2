#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace diffract {

/// How many bytes at the text's beginning are whole characters of UTF-8: all of them where it is UTF-8.
size_t valid_utf8_bytes(std::string_view text);
inline bool is_utf8(std::string_view text) { return valid_utf8_bytes(text) == text.size(); }

/// The largest length up to `most` at which the text can be cut without cutting a character.
size_t whole_characters(std::string_view text, size_t most);
/// For messages: at most `most` bytes of the text, and "..." where there is more.
std::string shortened(std::string_view text, size_t most);

/// The characters of a text in Latin-1, one a byte, as UTF-8.
std::string utf8_of_latin1(std::string_view text);

}  // namespace diffract
