// The side at which a text is cut and filled up, as transformers reads it from a tokenizer's files.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/text/clip_tokenizer.h"
#include "diffract/text/t5_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

namespace fs = std::filesystem;

TokenizerFiles files_of(const std::string& tokenizer) {
  return load_tokenizer_files(tokenizer == "clip" ? test::data("clip_tokenizer")
                                                  : test::data("../../models/emoji-flux/tokenizer_2"));
}

void change(std::string& file, const Json& keys) {
  Json json = file.empty() ? Json::object() : Json::parse(file);
  json.update(keys);
  file = json.dump();
}

std::unique_ptr<Tokenizer> make(const std::string& tokenizer, const Json& config,
                                const Json& tokenizer_json) {
  TokenizerFiles files = files_of(tokenizer);
  change(files.tokenizer_config_json, config);
  if (!tokenizer_json.empty()) change(files.tokenizer_json, tokenizer_json);
  if (tokenizer == "clip") return std::make_unique<ClipTokenizer>(parse_clip_vocabulary(files));
  return std::make_unique<T5Tokenizer>(parse_t5_vocabulary(files));
}

TEST(TextSides, CutAndFillUpAsTransformersDoes) {
  std::unique_ptr<Tokenizer> tokenizer;
  Json made_of;
  for (const Json& expected : load_json(test::data("tokenization/sides.json"))) {
    const Json of = {expected["tokenizer"], expected["config"], expected["tokenizer_json"]};
    if (of != made_of) tokenizer = make(of[0], of[1], of[2]);
    made_of = of;
    const auto encoding =
        tokenizer->encode(expected["text"].get<std::string>(),
                          {.max_length = expected["max_length"].get<int64_t>(), .pad = true});
    EXPECT_EQ(encoding.input_ids, expected["ids"].get<std::vector<int64_t>>()) << expected;
  }
}

TEST(TextSides, AreReadForASentencePieceModelToo) {
  const test::TempFolder folder;
  fs::copy(test::data("../../models/emoji-flux/tokenizer_2/spiece.model"), folder / "spiece.model");
  folder.file("tokenizer_config.json", R"({"padding_side": "left"})");
  EXPECT_EQ(T5Tokenizer::load(folder.path()).encode("a", {.max_length = 8, .pad = true}).input_ids.front(),
            0);
}

TEST(TextSides, RefuseWhatIsNoSide) {
  for (const char* key : {"padding_side", "truncation_side"})
    for (const Json& bad : {Json("middle"), Json(1), Json("Left")}) {
      const auto message = test::error_of<CheckpointError>([&] {
        make("clip", {{key, bad}}, Json::object());
      });
      EXPECT_NE(message.find(std::string("tokenizer_config.json: \"") + key + "\""), std::string::npos)
          << message;
    }
  const auto message = test::error_of<CheckpointError>([] {
    make("t5", Json::object(), {{"padding", {{"direction", "up"}}}});
  });
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::text
