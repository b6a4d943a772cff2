#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace diffract::models {

/// Takes `prefix` off `text`; false where it does not begin with it.
inline bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Takes the number that `text` begins with, and the separator behind it, off it.
inline std::optional<int64_t> take_number(std::string_view& text, char separator = '.') {
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto length = static_cast<size_t>(end - text.data());
  if (failure != std::errc() || number < 0 || length >= text.size() || text[length] != separator) return {};
  text.remove_prefix(length + 1);
  return number;
}

}  // namespace diffract::models
