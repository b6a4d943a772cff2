#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract::text {

/// SentencePiece's table of characters and what they are normalised to: a double-array trie over UTF-8 whose
/// leaves point into a text of replacements. Source: sentencepiece normalizer.cc; applied as the Rust
/// tokenizers library applies it (Precompiled), which differs where a grapheme begins with a character of the
/// table.
class PrecompiledCharsmap {
 public:
  PrecompiledCharsmap() = default;  // leaves every text as it is
  /// `blob` is the model's precompiled_charsmap. Throws CheckpointError naming `source` when it is damaged.
  PrecompiledCharsmap(std::string_view blob, const std::string& source);

  std::u32string normalise(std::u32string_view text) const;

 private:
  // The replacement of the shortest prefix of `chunk` (UTF-8) that the table has.
  std::optional<std::string_view> find(std::string_view chunk) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;  // each ends with a zero byte
};

}  // namespace diffract::text
