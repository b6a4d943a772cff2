#include "diffract/text/unicode.h"

#include <gtest/gtest.h>

namespace diffract::text {
namespace {

TEST(Unicode, ComposesWhatCanBeComposed) {
  EXPECT_EQ(compose(U"e\u0301"), U"\u00e9");
  EXPECT_EQ(compose(U"\u1100\u1161\u11a8"), U"\uac01");
  EXPECT_EQ(compose(U"\u212b"), U"\u00c5");
  EXPECT_EQ(compose(U"\ufb01"), U"\ufb01");  // a ligature is not canonical
  EXPECT_EQ(compose(U""), U"");
}

TEST(Unicode, OrdersMarksButNotThoseThatTheNormaliserDoesNotKnow) {
  EXPECT_EQ(compose(U"q\u0307\u0323"), U"q\u0323\u0307");
  EXPECT_EQ(compose(U"q\u0345\u0898"), U"q\u0345\u0898");  // of Unicode 14
}

TEST(Unicode, LowersCharacterByCharacter) {
  EXPECT_EQ(lower(U"ΣΑΣ"), U"σασ");  // the last sigma is not made final
  EXPECT_EQ(lower(U"\u0130"), U"i\u0307");
  EXPECT_EQ(lower(U"\ua7cb"), U"\u0264");  // of Unicode 16
}

TEST(Unicode, ClassesCharacters) {
  EXPECT_TRUE(is_letter(U'é') && is_letter(U'中') && is_letter(0x2ebf0));
  EXPECT_TRUE(is_number(U'½') && is_number(U'٣') && is_number(0x116d0));
  EXPECT_TRUE(is_space(U'\u3000') && is_space(U'\x85') && !is_space(U'\u200b') && !is_space(0x1c));
  for (const char32_t c : U"é中_7Ⅷ\u0301\u203f\u200dⓐ\u0897")  // the last is of Unicode 16
    EXPECT_EQ(is_word_character(c), c != 0) << static_cast<uint32_t>(c);
  EXPECT_FALSE(is_word_character(U'-') || is_word_character(U'½') || is_word_character(U'\u3000'));
  EXPECT_FALSE(is_letter(U'_') || is_number(U'_') || is_space(U'_'));
}

}  // namespace
}  // namespace diffract::text
