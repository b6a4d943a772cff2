#include "diffract/text/added_tokens.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/text/load_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

namespace fs = std::filesystem;

// A tokenizer's folder as a case of added_tokens.json describes it.
void write_folder(const Json& recipe, const test::TempFolder& folder) {
  const fs::path base = test::data("../..") / recipe["base"].get<std::string>();
  for (const Json& name : recipe["keep"])
    fs::copy(base / name.get<std::string>(), folder / name.get<std::string>());
  for (const auto& [name, content] : recipe["files"].items()) {
    Json whole = content;
    if (name == "tokenizer.json") {
      whole = load_json(base / name);
      whole["added_tokens"] = content;
    }
    folder.file(name, whole.dump());
  }
}

TEST(AddedTokens, AreFoundAsTransformersFindsThem) {
  const Json recipes = load_json(test::data("tokenization/added_tokens.json"));
  EXPECT_GE(recipes.size(), 19u);
  for (const Json& recipe : recipes) {
    SCOPED_TRACE(recipe["base"].get<std::string>() + ": " + recipe["name"].get<std::string>());
    const test::TempFolder folder;
    write_folder(recipe, folder);
    const auto tokenizer = load_tokenizer(folder.path());
    EXPECT_EQ(tokenizer->vocab_size(), recipe["vocab_size"].get<int64_t>());
    for (const auto& [id, token] : recipe["added"].items())
      EXPECT_EQ(tokenizer->id_to_token(std::stoll(id)), token.get<std::string>());
    for (const Json& item : recipe["cases"])
      EXPECT_EQ(tokenizer->encode(item["text"].get<std::string>(), {}).input_ids,
                item["ids"].get<std::vector<int64_t>>())
          << item["text"];
  }
}

class AddedTokensError : public testing::Test {
 protected:
  std::string of(const std::string& name, const std::string& content) const {
    const fs::path base = test::data("reference/checkpoints/sd15/tokenizer");
    const test::TempFolder folder;
    for (const char* file : {"vocab.json", "merges.txt"}) fs::copy(base / file, folder / file);
    folder.file(name, content);
    return test::error_of<CheckpointError>([&] { load_tokenizer(folder.path()); });
  }
};

TEST_F(AddedTokensError, NamesTheFileAndTheToken) {
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"added_tokens.json", R"(["<cat>"])", "added_tokens.json"},
      {"added_tokens.json", R"({"<cat>": "1214"})", "<cat>"},
      {"added_tokens.json", R"({"<cat>": -1})", "<cat>"},
      {"added_tokens.json", R"({"<cat>": 99999999999})", "99999999999"},
      {"added_tokens.json", R"({"": 1214})", "1214"},
      {"added_tokens.json", R"({"<cat>": 5})", "another token's"},
      {"added_tokens.json", R"({"<|endoftext|>": 1214})", "1213"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": []})", "added_tokens_decoder"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<cat>"}}})", "\"x\""},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"1214": "<cat>"}})", "1214"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"1214": {}}})", "content"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"1214": {"content": "a b", "lstrip": 1}}})",
       "lstrip"},
      {"tokenizer_config.json",
       R"({"added_tokens_decoder": {"1214": {"content": "<a>"}, "1215": {"content": "<a>"}}})",
       "1214 and 1215"},
      {"special_tokens_map.json", R"({"additional_special_tokens": ["<cat>"]})", "<cat>"},
  };
  for (const auto& [file, content, named] : cases) {
    const auto message = of(file, content);
    EXPECT_NE(message.find(named), std::string::npos) << content << " gives: " << message;
  }
}

// A gap before an added token: transformers 5 would number on from the vocabulary, but the token's embedding
// is the row that the file names.
TEST(AddedTokens, KeepTheIdsThatTheFilesGiveThem) {
  const fs::path base = test::data("reference/checkpoints/sd15/tokenizer");
  const test::TempFolder folder;
  for (const char* file : {"vocab.json", "merges.txt"}) fs::copy(base / file, folder / file);
  folder.file("added_tokens.json", R"({"<cat>": 1220})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->encode("<cat>", {}).input_ids, (std::vector<int64_t>{1212, 1220, 1213}));
  EXPECT_EQ(tokenizer->vocab_size(), 1221);
  EXPECT_EQ(tokenizer->id_to_token(1220), "<cat>");
  EXPECT_EQ(tokenizer->id_to_token(1215), "");
}

}  // namespace
}  // namespace diffract::text
