#include "diffract/text/t5_tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>

#include "diffract/core/error.h"
#include "diffract/text/load_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kPad = 0, kEnd = 1, kUnknown = 2;

fs::path folder() { return test::data("../../models/emoji-flux/tokenizer_2"); }

const T5Tokenizer& t5() {
  static const T5Tokenizer tokenizer = T5Tokenizer::load(folder());
  return tokenizer;
}

size_t check_cases(const Tokenizer& tokenizer) {
  std::ifstream lines(test::data("tokenization/t5.jsonl"));
  size_t texts = 0;
  for (std::string line; std::getline(lines, line); ++texts) {
    const Json expected = Json::parse(line);
    auto ids = expected["ids"].get<std::vector<int64_t>>();
    ids.push_back(kEnd);
    EXPECT_EQ(tokenizer.encode(expected["text"].get<std::string>(), {}).input_ids, ids)
        << line.substr(0, 200);
  }
  return texts;
}

TEST(T5Tokenizer, GivesTheIdsOfTransformersOnThousandsOfTexts) { EXPECT_GE(check_cases(t5()), 2500u); }

TEST(T5Tokenizer, ReadsSentencePieceModelsToo) {
  const test::TempFolder other;
  fs::copy(folder() / "spiece.model", other / "spiece.model");
  const auto tokenizer = load_tokenizer(other.path());
  EXPECT_EQ(tokenizer->vocab_size(), t5().vocab_size());
  EXPECT_EQ(tokenizer->model_max_length(), 512);
  EXPECT_GE(check_cases(*tokenizer), 2500u);
}

TEST(T5Tokenizer, CutsAndPads) {
  const auto whole = t5().encode("a dog on a table under a tree", {});
  const auto cut = t5().encode("a dog on a table under a tree", {.max_length = 4});
  EXPECT_EQ(cut.input_ids.size(), 4u);
  EXPECT_EQ(cut.input_ids.back(), kEnd);
  EXPECT_EQ(cut.cut_tokens, static_cast<int64_t>(whole.input_ids.size()) - 4);
  const auto padded = t5().encode("a", {.max_length = 16, .pad = true});
  EXPECT_EQ(padded.input_ids.size(), 16u);
  EXPECT_EQ(padded.input_ids.back(), kPad);
  EXPECT_EQ(t5().encode("a dog", {.max_length = 1}).input_ids, std::vector<int64_t>{kEnd});
  EXPECT_THROW(t5().encode("a", {.max_length = -1}), UsageError);
}

TEST(T5Tokenizer, TurnsIdsIntoTokens) {
  EXPECT_EQ(t5().id_to_token(kUnknown), "<unk>");
  EXPECT_EQ(t5().id_to_token(2499), "<extra_id_0>");
  EXPECT_THROW(t5().id_to_token(2500), UsageError);
}

TokenizerFiles files_with(const Json& tokenizer_json) {
  return {.tokenizer_json = tokenizer_json.dump(),
          .vocab_json = {},
          .merges_txt = {},
          .tokenizer_config_json = R"({"additional_special_tokens": []})",
          .special_tokens_map_json = {},
          .folder = "memory"};
}

Json small() {
  return Json::parse(R"({"normalizer": null, "model": {"type": "Unigram", "vocab": [
    ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁a", -1.0], ["▁", -2.0], ["b", -3.0], ["bb", -5.0]]}})");
}

TEST(T5Tokenizer, TakesTheLikeliestPiecesAndJoinsWhatIsUnknown) {
  const T5Tokenizer tokenizer(parse_t5_vocabulary(files_with(small())));
  EXPECT_EQ(tokenizer.encode("a bbb", {}).input_ids, (std::vector<int64_t>{3, 4, 5, 6, 1}));
  EXPECT_EQ(tokenizer.encode("axyzb", {}).input_ids, (std::vector<int64_t>{3, 2, 5, 1}));
  EXPECT_EQ(tokenizer.encode("", {}).input_ids, (std::vector<int64_t>{1}));
}

TEST(T5Tokenizer, NamesWhatIsWrongInItsFiles) {
  const auto error = [](const std::function<void(Json&)>& damage) {
    Json json = small();
    damage(json);
    return test::error_of<CheckpointError>([&] { T5Tokenizer(parse_t5_vocabulary(files_with(json))); });
  };
  EXPECT_NE(error([](Json& j) { j["model"]["type"] = "BPE"; }).find("unigram"), std::string::npos);
  EXPECT_NE(error([](Json& j) {
              j["model"]["vocab"].push_back({std::string(5 << 20, 'x'), -9.0});
            }).find("bytes"),
            std::string::npos);
  EXPECT_NE(error([](Json& j) { j["model"]["vocab"] = 3; }).find("vocab"), std::string::npos);
  EXPECT_NE(error([](Json& j) { j["model"]["vocab"][4] = Json::array({"x"}); }).find("token 4"),
            std::string::npos);
  EXPECT_NE(error([](Json& j) { j["model"]["vocab"] = Json::parse(R"([["</s>", 0.0]])"); }).find("<unk>"),
            std::string::npos);
  for (const Json& charsmap : {Json("@@"), Json("AAAA"), Json("/////wAA"), Json(7)})
    EXPECT_NE(error([&](Json& j) {
                j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", charsmap}};
              }).find("charsmap"),
              std::string::npos)
        << charsmap;
}

TEST(SentencePieceModel, SaysWhenTheFileIsDamaged) {
  TokenizerFiles files = load_tokenizer_files(folder());
  files.tokenizer_json.clear();
  const std::string sound = [] {
    std::ifstream in(folder() / "spiece.model", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  for (const size_t length : {size_t{1}, size_t{2}, sound.size() / 2, sound.size() - 1}) {
    files.spiece_model = sound.substr(0, length);
    EXPECT_NE(test::error_of<CheckpointError>([&] { parse_t5_vocabulary(files); }).find("spiece.model"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace diffract::text
