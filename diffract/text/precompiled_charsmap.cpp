#include "diffract/text/precompiled_charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "diffract/core/error.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

constexpr size_t kMostGraphemeBytes = 5;  // longer graphemes are looked up character by character

// A unit of the double array. Source: darts-clone's DoubleArrayUnit.
struct Unit {
  uint32_t bits;
  bool has_leaf() const { return (bits >> 8) & 1; }
  uint32_t value() const { return bits & 0x7fffffffu; }
  uint32_t label() const { return bits & 0x800000ffu; }
  size_t offset() const { return size_t{bits >> 10} << ((bits & 0x200u) >> 6); }
};

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

bool grapheme_ends(char32_t a, char32_t b, utf8proc_int32_t& state) {
  return utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b),
                                          &state);
}

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(std::string_view blob, const std::string& source) {
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes)
    throw CheckpointError("{}: the precompiled_charsmap has {} bytes; expected at least 4", source,
                          blob.size());
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes % sizeof(uint32_t) != 0 || trie_bytes > blob.size() || trie_bytes == 0)
    throw CheckpointError("{}: the precompiled_charsmap names a trie of {} bytes in {}", source, trie_bytes,
                          blob.size());
  trie_.resize(trie_bytes / sizeof(uint32_t));
  std::memcpy(trie_.data(), blob.data(), trie_bytes);
  replacements_ = blob.substr(trie_bytes);
  try {
    decode_utf8(replacements_);
  } catch (const UsageError& error) {
    throw CheckpointError("{}: the precompiled_charsmap: {}", source, error.what());
  }
}

std::optional<std::string_view> PrecompiledCharsmap::find(std::string_view chunk) const {
  size_t node = Unit{trie_[0]}.offset();
  for (const char c : chunk) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (byte == 0 || node >= trie_.size()) return {};
    const Unit unit{trie_[node]};
    if (unit.label() != byte) return {};
    node ^= unit.offset();
    if (!unit.has_leaf()) continue;
    if (node >= trie_.size()) return {};
    const size_t begin = Unit{trie_[node]}.value();
    if (begin >= replacements_.size() || is_continuation(replacements_[begin])) return {};
    const size_t end = std::min(replacements_.find('\0', begin), replacements_.size());
    return std::string_view(replacements_).substr(begin, end - begin);
  }
  return {};
}

std::u32string PrecompiledCharsmap::normalise(std::u32string_view text) const {
  std::u32string normalised;
  if (trie_.empty()) return std::u32string(text);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    for (utf8proc_int32_t state = 0; end < text.size() && !grapheme_ends(text[end - 1], text[end], state);)
      ++end;
    const std::u32string_view grapheme = text.substr(begin, end - begin);
    begin = end;
    const std::string bytes = encode_utf8(grapheme);
    const auto whole = bytes.size() <= kMostGraphemeBytes ? find(bytes) : std::nullopt;
    if (whole) {
      normalised += decode_utf8(*whole);
      continue;
    }
    for (const char32_t c : grapheme) {
      const auto replacement = find(encode_utf8({&c, 1}));
      if (replacement)
        normalised += decode_utf8(*replacement);
      else
        normalised += c;
    }
  }
  return normalised;
}

}  // namespace diffract::text
