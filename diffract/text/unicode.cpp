#include "diffract/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

#include "diffract/core/error.h"

namespace diffract::text {
namespace {

struct Range {
  char32_t first, last;
};

// What Unicode 16 and 17, which the Rust library knows, added to Unicode 15, which Debian 12's utf8proc
// knows. Found by comparing the two on every code point.
constexpr Range kNewerLetters[] = {
    {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3}, {0x10d4a, 0x10d65},
    {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e},
    {0x11390, 0x113b5}, {0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0},
    {0x13460, 0x143fa}, {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
    {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d}};
constexpr Range kNewerNumbers[] = {{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9},
                                   {0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9},
                                   {0x1e5f1, 0x1e5fa}};
constexpr Range kNewerMarks[] = {
    {0x897, 0x897},     {0x10d69, 0x10d6d}, {0x10efc, 0x10efc}, {0x113b8, 0x113c0}, {0x113c2, 0x113c2},
    {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2},
    {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f}, {0x1e5ee, 0x1e5ef}};
// The combining marks that utf8proc knows and the Rust library's normaliser, which is of Unicode 10, does
// not; it neither moves them nor composes across them.
constexpr Range kMarksThatStay[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}};
struct LowerCase {
  Range upper;
  char32_t first_lower;
};
constexpr LowerCase kNewerLowerCase[] = {{{0x1c89, 0x1c89}, 0x1c8a},    {{0xa7cb, 0xa7cb}, 0x264},
                                         {{0xa7cc, 0xa7cc}, 0xa7cd},    {{0xa7ce, 0xa7ce}, 0xa7cf},
                                         {{0xa7d2, 0xa7d2}, 0xa7d3},    {{0xa7d4, 0xa7d4}, 0xa7d5},
                                         {{0xa7da, 0xa7da}, 0xa7db},    {{0xa7dc, 0xa7dc}, 0x19b},
                                         {{0x10d50, 0x10d65}, 0x10d70}, {{0x16ea0, 0x16eb8}, 0x16ebb}};

bool contains(std::span<const Range> ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const Range& r) { return c >= r.first && c <= r.last; });
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

std::u32string compose_run(std::u32string_view text) {
  const std::string bytes = encode_utf8(text);
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
                                   static_cast<utf8proc_ssize_t>(bytes.size()), &mapped,
                                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(mapped, std::free);
  if (length < 0) throw UsageError("the text cannot be normalised: {}", utf8proc_errmsg(length));
  return decode_utf8({reinterpret_cast<const char*>(mapped), static_cast<size_t>(length)});
}

char32_t lower_of(char32_t c) {
  for (const auto& [upper, first_lower] : kNewerLowerCase)
    if (c >= upper.first && c <= upper.last) return first_lower + (c - upper.first);
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  std::u32string characters;
  characters.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t c = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                         static_cast<utf8proc_ssize_t>(text.size() - at), &c);
    if (length <= 0) throw UsageError("the text is not UTF-8 at byte {}", at);
    characters.push_back(static_cast<char32_t>(c));
    at += static_cast<size_t>(length);
  }
  return characters;
}

void append_utf8(std::string& to, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  to.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) append_utf8(bytes, c);
  return bytes;
}

bool is_letter(char32_t c) {
  const auto found = category(c);
  return (found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO) || contains(kNewerLetters, c);
}

bool is_number(char32_t c) {
  const auto found = category(c);
  return (found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO) || contains(kNewerNumbers, c);
}

// Unicode's White_Space, which has not changed since Unicode 6.3.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_word_character(char32_t c) {
  // The two joiners, and the letters in circles and squares, which Unicode calls alphabetic.
  constexpr Range kOthers[] = {
      {0x200c, 0x200d}, {0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
  if (is_letter(c)) return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return contains(kNewerNumbers, c) || contains(kNewerMarks, c) || contains(kOthers, c);
  }
}

std::u32string compose(std::u32string_view text) {
  std::u32string result;
  size_t begin = 0;
  for (size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && !contains(kMarksThatStay, text[at])) continue;
    if (at > begin) result += compose_run(text.substr(begin, at - begin));
    if (at < text.size()) result += text[at];
    begin = at + 1;
  }
  return result;
}

std::u32string lower(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0x130)
      result += U"i\u0307";  // the only character whose lower case is two
    else
      result += lower_of(c);
  }
  return result;
}

}  // namespace diffract::text
