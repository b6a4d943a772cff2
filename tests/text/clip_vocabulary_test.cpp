#include "diffract/text/clip_vocabulary.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/text/clip_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace diffract::text {
namespace {

TokenizerFiles sound_files() {
  return {
      .tokenizer_json = {},
      .vocab_json = R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})",
      .merges_txt = "#version: 0.2\na b</w>\n",
      .tokenizer_config_json = R"({"model_max_length":77})",
      .special_tokens_map_json = "{}",
      .folder = "memory"};
}

std::string error_with(const std::function<void(TokenizerFiles&)>& damage) {
  return test::error_of<CheckpointError>([&] {
    TokenizerFiles files = sound_files();
    damage(files);
    ClipTokenizer tokenizer(parse_clip_vocabulary(files));
  });
}

TEST(ClipVocabulary, TakesSoundFiles) {
  const ClipTokenizer tokenizer(parse_clip_vocabulary(sound_files()));
  EXPECT_EQ(tokenizer.encode("ab", {}).input_ids, (std::vector<int64_t>{5, 4, 6}));
}

TEST(ClipVocabulary, NamesTheFileAndWhatIsWrongInIt) {
  const std::tuple<std::string, std::string, std::string TokenizerFiles::*> cases[] = {
      {"", "vocab.json", &TokenizerFiles::vocab_json},
      {"[]", "vocab.json", &TokenizerFiles::vocab_json},
      {"{}", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":"0"})", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":-1})", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":0.5})", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":99999999999})", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":0,"b":0})", "vocab.json", &TokenizerFiles::vocab_json},
      {R"({"a":0,"b":1})", "<|startoftext|>", &TokenizerFiles::vocab_json},
      {R"({"a":0,)", "vocab.json", &TokenizerFiles::vocab_json},
      {"a b c\n", "merges.txt:1", &TokenizerFiles::merges_txt},
      {"a  b\n", "merges.txt:1", &TokenizerFiles::merges_txt},
      {"#version: 0.2\nab\n", "merges.txt:2", &TokenizerFiles::merges_txt},
      {" b\n", "merges.txt:1", &TokenizerFiles::merges_txt},
      {"a \n", "merges.txt:1", &TokenizerFiles::merges_txt},
      {"a c\n", "\"c\"", &TokenizerFiles::merges_txt},
      {"b a</w>\n", "\"ba</w>\"", &TokenizerFiles::merges_txt},
      {R"({"model_max_length":"long"})", "model_max_length", &TokenizerFiles::tokenizer_config_json},
      {R"({"model_max_length":-5})", "model_max_length", &TokenizerFiles::tokenizer_config_json},
      {R"({"bos_token":5})", "bos_token", &TokenizerFiles::tokenizer_config_json},
      {R"({"bos_token":""})", "bos_token", &TokenizerFiles::tokenizer_config_json},
      {R"({"eos_token":{"content":7}})", "eos_token", &TokenizerFiles::tokenizer_config_json},
      {R"({"pad_token":"<none>"})", "<none>", &TokenizerFiles::tokenizer_config_json},
      {R"([1])", "tokenizer_config.json", &TokenizerFiles::tokenizer_config_json},
      {R"({"unk_token":[]})", "unk_token", &TokenizerFiles::special_tokens_map_json},
      {R"({"model":{"type":"Unigram"}})", "tokenizer.json", &TokenizerFiles::tokenizer_json},
      {R"({"model":[]})", "tokenizer.json", &TokenizerFiles::tokenizer_json},
      {R"({"model":{"vocab":{"a":0},"merges":{}}})", "merges", &TokenizerFiles::tokenizer_json},
      {R"({"model":{"vocab":{"a":0},"merges":[["a"]]}})", "merge 1", &TokenizerFiles::tokenizer_json},
      {R"({"model":{"vocab":{"a":0},"merges":["a b c"]}})", "merge 1", &TokenizerFiles::tokenizer_json},
  };
  for (const auto& [text, named, file] : cases) {
    const auto message = error_with([&](TokenizerFiles& files) { files.*file = text; });
    EXPECT_NE(message.find(named), std::string::npos) << text << " gives: " << message;
  }
}

TEST(ClipVocabulary, TakesTransformersMarkForNoLimitAsClipsLength) {
  TokenizerFiles files = sound_files();
  files.tokenizer_config_json = R"({"model_max_length":1000000000000000019884624838656})";
  EXPECT_EQ(parse_clip_vocabulary(files).model_max_length, 77);
}

TEST(ClipVocabulary, NamesMissingFilesAndFolders) {
  const test::TempFolder folder;
  EXPECT_NE(test::error_of<CheckpointError>([&] { ClipTokenizer::load(folder.path()); }).find("vocab.json"),
            std::string::npos);
  EXPECT_NE(test::error_of<CheckpointError>([&] { ClipTokenizer::load(folder / "none"); }).find("none"),
            std::string::npos);
}

}  // namespace
}  // namespace diffract::text
