#include "diffract/core/utf8.h"

#include <gtest/gtest.h>

namespace diffract {
namespace {

TEST(Utf8, IsToldFromOtherBytes) {
  for (const char* text : {"", "plain", "caf\u00e9", "\u732b\U0001f431", "\u07ff\u0800\uffff\U0010ffff"})
    EXPECT_TRUE(is_utf8(text)) << text;
  // Latin-1, cut characters, written too long, surrogates, beyond Unicode.
  for (const char* text :
       {"caf\xe9", "\xe7\x8c", "\xf0\x9f\x90", "\x80", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
    EXPECT_FALSE(is_utf8(text));
  EXPECT_EQ(valid_utf8_bytes("a\u732b\xff z"), 4u);
}

TEST(Shortened, CutsBetweenCharacters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "abc...");
  EXPECT_EQ(shortened("\u732b\u732b", 4), "\u732b...");
  for (size_t most = 0; most < 12; ++most)
    EXPECT_TRUE(is_utf8(shortened("a\u732b\u00e9\U0001f431x", most))) << most;
}

TEST(Utf8OfLatin1, MakesOneCharacterOfEachByte) {
  EXPECT_EQ(utf8_of_latin1("caf\xe9 \xff"), "caf\u00e9 \u00ff");
}

}  // namespace
}  // namespace diffract
