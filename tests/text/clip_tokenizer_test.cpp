#include "diffract/text/clip_tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

const ClipTokenizer& clip() {
  static const ClipTokenizer tokenizer = ClipTokenizer::load(test::data("clip_tokenizer"));
  return tokenizer;
}

constexpr int64_t kBos = 49406, kEos = 49407;

TEST(ClipTokenizer, GivesTheIdsOfTransformersOnThousandsOfTexts) {
  std::ifstream lines(test::data("tokenization/clip.jsonl"));
  size_t texts = 0;
  for (std::string line; std::getline(lines, line); ++texts) {
    const Json expected = Json::parse(line);
    auto ids = expected["ids"].get<std::vector<int64_t>>();
    ids.insert(ids.begin(), kBos);
    ids.push_back(kEos);
    ASSERT_EQ(clip().encode(expected["text"].get<std::string>(), {}).input_ids, ids) << line.substr(0, 200);
  }
  EXPECT_GE(texts, 2000u);
}

TEST(ClipTokenizer, CutsToTheLengthAndSaysHowMuchWasLost) {
  const auto whole = clip().encode("a photo of a very small cat", {});
  const auto cut = clip().encode("a photo of a very small cat", {.max_length = 5});
  EXPECT_EQ(cut.input_ids.size(), 5u);
  EXPECT_EQ(cut.input_ids.back(), kEos);
  EXPECT_EQ(cut.cut_tokens, static_cast<int64_t>(whole.input_ids.size()) - 5);
  EXPECT_TRUE(std::equal(cut.input_ids.begin(), cut.input_ids.begin() + 4, whole.input_ids.begin()));
}

TEST(ClipTokenizer, PadsToTheLength) {
  const auto padded = clip().encode("cat", {.max_length = 77, .pad = true});
  EXPECT_EQ(padded.input_ids.size(), 77u);
  EXPECT_EQ(padded.cut_tokens, 0);
  EXPECT_EQ(padded.input_ids[1], 2368);  // "cat</w>"
  EXPECT_EQ(padded.input_ids[76], kEos);
}

TEST(ClipTokenizer, NeedsRoomForItsSpecialTokens) {
  EXPECT_EQ(clip().encode("cat", {.max_length = 2}).input_ids, (std::vector<int64_t>{kBos, kEos}));
  EXPECT_THROW(clip().encode("cat", {.max_length = 1}), UsageError);
  EXPECT_THROW(clip().encode("cat", {.max_length = -1}), UsageError);
}

TEST(ClipTokenizer, NamesTheByteThatIsNotUtf8) {
  const auto message = test::error_of<UsageError>([] { clip().encode("a cat\xff", {}); });
  EXPECT_NE(message.find("byte 5"), std::string::npos) << message;
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"})
    EXPECT_THROW(clip().encode(bad, {}), UsageError);
}

TEST(ClipTokenizer, EncodesALongWordInLessThanQuadraticTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_GT(clip().encode(std::string(200'000, 'x'), {}).input_ids.size(), 1000u);
  // Quadratic merging would take minutes; this is a bound on the order, not on the speed.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(ClipTokenizer, TurnsIdsIntoTokens) {
  EXPECT_EQ(clip().id_to_token(2368), "cat</w>");
  EXPECT_EQ(clip().vocab_size(), 49408);
  EXPECT_EQ(clip().model_max_length(), 77);
  EXPECT_THROW(clip().id_to_token(49408), UsageError);
  EXPECT_THROW(clip().id_to_token(-1), UsageError);
}

// What transformers gives for the small tokenizer of the reference cases, once from its tokenizer.json and
// once from vocab.json and merges.txt.
TEST(ClipTokenizer, ReadsBothFormsOfTheFiles) {
  const auto folder = test::data("reference/checkpoints/sd15/tokenizer");
  const std::vector<int64_t> expected = {1212, 27, 347, 524, 639,  69,  600,
                                         1052, 91, 285, 320, 1213, 321, 1213};
  const std::string text = "<|ENDOFTEXT|> a <|endoftext|>b";
  EXPECT_EQ(ClipTokenizer::load(folder).encode(text, {}).input_ids, expected);
  const test::TempFolder slow;
  for (const char* name : {"vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"})
    std::filesystem::copy(folder / name, slow / name);
  EXPECT_EQ(ClipTokenizer::load(slow.path()).encode(text, {}).input_ids, expected);
}

// A token that is looked for in normalised text is found in capitals too (as transformers does for configs
// that say "normalized": true, Stable Diffusion 1.5's among them).
TEST(ClipTokenizer, FindsNormalisedSpecialTokensInCapitals) {
  TokenizerFiles files{
      .tokenizer_json = {},
      .vocab_json = R"({"a</w>":0,"<":1,"|":2,">":3,"<s>":4,"<e>":5,"s":6,"b</w>":7,"e":8,"<</w>":9})",
      .merges_txt = "#version: 0.2\n",
      .tokenizer_config_json = R"({"bos_token":{"content":"<s>","normalized":true},"eos_token":"<e>",
                                               "unk_token":"<e>","pad_token":"<e>"})",
      .special_tokens_map_json = {},
      .folder = "memory"};
  const ClipTokenizer tokenizer(parse_clip_vocabulary(files));
  EXPECT_EQ(tokenizer.encode("a<S>b", {}).input_ids, (std::vector<int64_t>{4, 0, 4, 7, 5}));
  EXPECT_EQ(tokenizer.encode("a<e>b", {}).input_ids, (std::vector<int64_t>{4, 0, 5, 7, 5}));
}

}  // namespace
}  // namespace diffract::text
