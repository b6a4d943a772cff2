// --prompts-file as a user meets it.
#include <gtest/gtest.h>

#include "diffract/core/json.h"
#include "diffract/io/png.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

class PromptsFile : public ::testing::Test {
 protected:
  test::ProgramResult generate(const std::string& name, const std::string& text,
                               const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {
        "generate", "--model",  model_, "--prompts-file", folder_.file(name, text),
        "--json",   "--height", "64",   "--width",        "64"};
    all.insert(all.end(), more.begin(), more.end());
    return test::run_diffract(all, folder_.path().string());
  }
  // Of a job, or its error.
  static std::vector<std::string> prompts(const test::ProgramResult& result) {
    if (result.exit_code != 0) return {result.err};
    std::vector<std::string> all;
    const Json summary = Json::parse(result.out);
    for (const Json& image : summary["images"]) all.push_back(image["prompt"]);
    return all;
  }
  std::string parameters(const std::string& png) const {
    for (const auto& text : io::load_png(folder_ / png).texts)
      if (text.key == "parameters") return text.value;
    return "";
  }

  test::TempFolder folder_;
  std::string model_ = test::data("reference/checkpoints/sd15").string();
};

TEST_F(PromptsFile, TakesTheCommandLinesNames) {
  const auto result = generate("p.jsonl", R"({"prompt": "x", "steps": 1, "seed": 18446744073709551615}
{"prompt": "y", "num-inference-steps": 2, "num_images-per-prompt": 1}
)");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(parameters("image_0.png").find("Steps: 1,"), std::string::npos) << parameters("image_0.png");
  EXPECT_NE(parameters("image_1.png").find("Steps: 2,"), std::string::npos) << parameters("image_1.png");
  EXPECT_EQ(Json::parse(result.out)["images"][0]["seed"], 18446744073709551615u);
}

TEST_F(PromptsFile, PassesOverAByteOrderMark) {
  const auto lines = generate("p.jsonl", "\xef\xbb\xbf{\"prompt\": \"x\"}\n", {"--steps", "1"});
  EXPECT_EQ(lines.exit_code, 0) << lines.err;
  const auto plain = generate("p.txt", "\xef\xbb\xbfx\n", {"--steps", "1", "--output", "plain.png"});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(parameters("plain.png"), parameters("image_0.png"));
}

TEST_F(PromptsFile, NamesWhatALineCannotHold) {
  const std::pair<std::string, std::string> cases[] = {
      {R"({"prompt": "x", "seed": 18446744073709551616})", "18446744073709551615"},
      {R"({"prompt": "x", "seed": 1.5})", "whole number"},
      {R"({"prompt": "x", "steps": 1, "num_inference_steps": 2})", "the same option"},
      {R"({"prompt": "x", "-steps": 1})", "\"-steps\""},
      {R"({"prompt": "a\u0000b"})", "zero byte"},
      {R"({"prompt": "a", "negative_prompt": "\u0000"})", "\"negative_prompt\""},
  };
  for (const auto& [line, named] : cases) {
    const auto result = generate("p.jsonl", line + "\n");
    EXPECT_EQ(result.exit_code, 2) << line;
    EXPECT_NE(result.err.find("p.jsonl:1"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
  }
  const auto plain = generate("p.txt", std::string("fine\na\0b\n", 9));
  EXPECT_EQ(plain.exit_code, 2);
  EXPECT_NE(plain.err.find("p.txt:2: the text has a zero byte, at byte 1"), std::string::npos) << plain.err;
}

TEST_F(PromptsFile, TellsTheFormByContentWhereTheNameDoesNot) {
  struct Case {
    const char *name, *text;
    std::vector<std::string> prompts;
  };
  const Case cases[] = {
      {"p.json", "[\n \"a cat\",\n \"a dog\"\n]\n", {"a cat", "a dog"}},
      {"list", "[\"a cat\", {\"prompt\": \"a dog\", \"seed\": 3}]", {"a cat", "a dog"}},
      {"l.txt", "{\"prompt\": \"a cat\"}\n{\"prompt\": \"a dog\"}\n", {"a cat", "a dog"}},
      {"one.json", "{\n  \"prompt\": \"a cat\"\n}\n", {"a cat"}},
      {"p.ndjson", "\"a cat\"\n\n  {\"prompt\": \"a dog\"}  \n", {"a cat", "a dog"}},
      {"p.txt", "[cat|dog] in {red} rain\n{red|blue} car\n", {"[cat|dog] in {red} rain", "{red|blue} car"}}};
  for (const Case& one : cases)
    EXPECT_EQ(prompts(generate(one.name, one.text, {"--steps", "1"})), one.prompts) << one.name;
  EXPECT_EQ(prompts(generate("raw.json", "[\"a\",\n", {"--steps", "1", "--prompts-format", "text"})),
            std::vector<std::string>{"[\"a\","});
}

TEST_F(PromptsFile, TakesEveryLineEndAndLeavesBlankLinesOut) {
  for (const char* text : {"a cat\n   \n\n\t\na dog  \n", "a cat\r\n \r\na dog  \r\n", "a cat\r \ra dog  ",
                           "\xef\xbb\xbf"
                           "a cat\n\xe3\x80\x80\na dog  \n"})
    EXPECT_EQ(prompts(generate("p.txt", text, {"--steps", "1"})),
              (std::vector<std::string>{"a cat", "a dog  "}))
        << text;
  EXPECT_EQ(
      prompts(generate("p.jsonl", "{\"prompt\": \"a\"}\n   \n{\"prompt\": \"b\"}\r\n", {"--steps", "1"})),
      (std::vector<std::string>{"a", "b"}));
  const auto blank = generate("blank.txt", " \n\t\n");
  EXPECT_EQ(blank.exit_code, 2);
  EXPECT_NE(blank.err.find("has no prompts"), std::string::npos) << blank.err;
}

TEST_F(PromptsFile, NamesWhatIsNotRead) {
  struct Case {
    const char* name;
    std::string text;
    std::vector<std::string> named;
  };
  const Case cases[] = {
      {"p.txt", "fine\ncaf\xe9\n", {"p.txt:2", "byte 3", "UTF-8"}},
      {"p.txt",
       std::string("\xff\xfe"
                   "a\0",
                   4),
       {"UTF-16"}},
      {"p.csv", "prompt,seed\na,1\n", {".csv is not read", "--prompts-format text"}},
      {"p.json", "[\"a cat\", 5]", {"prompt 2", "is 5"}},
      {"p.txt", "[\"a cat\",\n", {"not valid JSON", "--prompts-format text"}},
      {"p.jsonl",
       "{\"prompt\": \"a\", \"sed\": 1}",
       {"did you mean seed?", "guidance_scale", "num_images_per_prompt"}},
      {"p.jsonl", "{\"prompt\": \"a\", \"cfg_scale\": 1}", {"here it is --guidance-scale. There are"}},
      {"p.jsonl", "{\"prompt\": \"a\", \"sampler\": \"x\"}", {"here it is --scheduler. There are"}},
      {"p.jsonl", "{\"prompt\": \"a\", \"gpu\": 1}", {"here it is --device cuda, for the whole job."}}};
  for (const Case& one : cases) {
    const auto result = generate(one.name, one.text);
    EXPECT_EQ(result.exit_code, 2) << one.text;
    for (const auto& part : one.named)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << ": " << result.err;
  }
}

// One each for two prompts leaves none for the file's, whose count would not match either.
TEST_F(PromptsFile, TakesASecondTextForAllPromptsOnly) {
  for (const auto* option : {"--negative-prompt", "--prompt-2"}) {
    const auto several = generate(
        "p.txt", "z\n", {"--prompt", "x", "--prompt", "y", option, "a", option, "b", "--steps", "1"});
    EXPECT_EQ(several.exit_code, 2) << option;
    EXPECT_NE(several.err.find("at most once"), std::string::npos) << several.err;
  }
  const auto one = generate("p.txt", "z\n", {"--prompt", "x", "--negative-prompt", "a", "--steps", "1"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_NE(parameters("image_1.png").find("Negative prompt: a"), std::string::npos);
}

}  // namespace
}  // namespace diffract
