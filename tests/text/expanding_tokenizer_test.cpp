// A token that stands for several, as a textual inversion of several vectors does.
#include "diffract/text/expanding_tokenizer.h"

#include <gtest/gtest.h>

#include "diffract/text/clip_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

class ExpandingTokenizerTest : public ::testing::Test {
 protected:
  ExpandingTokenizerTest()
      : vocabulary_(parse_clip_vocabulary(load_tokenizer_files(test::data("clip_tokenizer")))) {
    for (const char* token : {"<a>", "<a>_1", "<a>_2", "<b>", "<c>_1"})
      vocabulary_.added_tokens.push_back({.content = token, .id = next_++, .normalized = true});
  }
  std::vector<int64_t> encode(const std::string& text) const {
    const auto plain = std::make_shared<const ClipTokenizer>(vocabulary_);
    return ExpandingTokenizer(plain, vocabulary_.added_tokens).encode(text, {}).input_ids;
  }
  std::vector<int64_t> plain(const std::string& text) const {
    return ClipTokenizer(vocabulary_).encode(text, {}).input_ids;
  }

  int64_t next_ = 60'000;
  ClipVocabulary vocabulary_;
};

TEST_F(ExpandingTokenizerTest, ReadsATokenAsAllItsTokens) {
  EXPECT_EQ(encode("a <a> there"), plain("a <a> <a>_1 <a>_2 there"));
  EXPECT_EQ(encode("<a>, <a>"), plain("<a> <a>_1 <a>_2, <a> <a>_1 <a>_2"));
}

TEST_F(ExpandingTokenizerTest, LeavesOtherTokensAlone) {
  for (const char* text : {"a dog", "a <b> there", "<c>_1", "<a", ""})
    EXPECT_EQ(encode(text), plain(text)) << text;
  // As diffusers: what is in capitals is the token, but is not replaced.
  EXPECT_EQ(encode("<A>"), plain("<A>"));
}

}  // namespace
}  // namespace diffract::text
