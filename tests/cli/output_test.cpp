// Files' names, and what scripts read: stdout in JSON whatever happens.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "diffract/core/json.h"
#include "tests/support/process.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;

class OutputTest : public ::testing::Test {
 protected:
  std::vector<std::string> command(const std::vector<std::string>& more, const char* steps = "1",
                                   const char* size = "64") const {
    std::vector<std::string> all = {"generate", "--model", model_,    "--steps", steps,
                                    "--height", size,      "--width", size};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::ProgramResult run(const std::vector<std::string>& arguments) const {
    return test::run_diffract(arguments, folder_.path().string());
  }
  test::ProgramResult generate(const std::vector<std::string>& more) const { return run(command(more)); }
  // With `input` as the standard input.
  test::ProgramResult piped(const std::string& input, const std::vector<std::string>& arguments) const {
    std::vector<std::string> shell = {"/bin/sh", "-c", "printf '%b' \"$0\" | \"$@\"", input,
                                      DIFFRACT_PROGRAM};
    shell.insert(shell.end(), arguments.begin(), arguments.end());
    return test::RunningProcess(shell, {}, folder_.path().string()).wait(std::chrono::seconds(120));
  }
  bool is_empty() const { return fs::is_empty(folder_.path()); }

  test::TempFolder folder_;
  std::string model_ = test::data("reference/checkpoints/sd15").string();
};

TEST_F(OutputTest, RefusesNamesOfOtherFormatsBeforeItComputes) {
  const std::vector<std::vector<std::string>> cases = {{"--output", "x.jpg"},
                                                       {"--output", "{index}.webp"},
                                                       {"--output", "x"},
                                                       {"--output", "x.safetensors"},
                                                       {"--output", "-"},
                                                       {"--output-type", "latent", "--output", "x.png"},
                                                       {"--output-type", "latent", "--output", "-"},
                                                       {"--save-steps", "x.png"},
                                                       {"--save-steps", "-"}};
  for (const auto& options : cases) {
    auto all = options;
    all.emplace_back("a dog");
    const auto result = generate(all);
    EXPECT_EQ(result.exit_code, 2) << options.back() << result.err;
    EXPECT_EQ(result.err.find("weights"), std::string::npos) << "loaded: " << result.err;
    EXPECT_NE(result.err.find(options.back()), std::string::npos) << result.err;
  }
  EXPECT_TRUE(is_empty());
  EXPECT_EQ(generate({"a dog", "-o", "x.PNG"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "x.PNG"));
}

TEST_F(OutputTest, SaysWhichPicturesWouldHaveOneName) {
  const auto result =
      generate({"--prompt", "?", "--prompt", "b", "--prompt", "*", "--output", "{prompt}.png"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("pictures 0 (\"?\") and 2 (\"*\") would both be image.png"), std::string::npos)
      << result.err;
}

TEST_F(OutputTest, GoesBelowTheHomeFolder) {
  const test::TempFolder home;
  std::vector<std::string> all = {DIFFRACT_PROGRAM};
  for (const auto& argument : command({"a dog", "--output=~/pictures/dog.png"})) all.push_back(argument);
  const auto end = test::RunningProcess(all, {{"HOME", home.path().string()}}, folder_.path().string())
                       .wait(std::chrono::seconds(120));
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_TRUE(fs::exists(home / "pictures/dog.png"));
  EXPECT_TRUE(is_empty());
}

TEST_F(OutputTest, PrintsAnErrorInJsonWhereJsonIsOwed) {
  struct Case {
    std::vector<std::string> arguments;
    const char* kind;
    int exit_code;
  };
  for (const Case& one :
       std::vector<Case>{{command({"--json", "--stpes", "1"}), "usage", 2},
                         {command({"--json"}), "usage", 2},
                         {{"generate", "--model", "/none", "--json", "a"}, "checkpoint", 3},
                         {{"info", "/none", "--json"}, "checkpoint", 3},
                         {command({"a", "--json", "--output", "/proc/x/y.png"}), "io", 6}}) {
    const auto result = run(one.arguments);
    EXPECT_EQ(result.exit_code, one.exit_code) << result.err;
    const Json error = Json::parse(result.out)["error"];
    EXPECT_EQ(error["kind"], one.kind);
    EXPECT_EQ(error["exit_code"], one.exit_code);
    EXPECT_NE(result.err.find(error["message"].get<std::string>()), std::string::npos);
  }
  EXPECT_EQ(generate({"a", "--stpes", "1"}).out, "");
}

TEST_F(OutputTest, PrintsOneObjectWhenSomePicturesFail) {
  folder_.file("p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"height\": 65}\n");
  const auto result = generate({"--prompts-file", "p.jsonl", "--json"});
  EXPECT_EQ(result.exit_code, 7) << result.err;
  const Json summary = Json::parse(result.out);
  EXPECT_EQ(summary["images"].size(), 1u);
  ASSERT_EQ(summary["failed"].size(), 1u);
  EXPECT_EQ(summary["failed"][0]["error"]["kind"], "usage");
  EXPECT_EQ(summary["error"]["exit_code"], 7);
  const Json sound = Json::parse(generate({"a", "--json"}).out);
  EXPECT_EQ(sound["failed"], Json::array());
  EXPECT_FALSE(sound.contains("error"));
  EXPECT_TRUE(sound.contains("memory"));
}

TEST_F(OutputTest, SaysTheSeedThatItDrew) {
  const auto result = generate({"a", "--seed", "random", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json seed = Json::parse(result.out)["images"][0]["seed"];
  EXPECT_NE(result.err.find("--seed " + seed.dump()), std::string::npos) << result.err;
  EXPECT_EQ(generate({"a", "--seed", "-1", "--resume"}).exit_code, 2);
}

TEST_F(OutputTest, WarnsOfWhatItWouldDrawAsText) {
  const auto result = generate({"a dog <lora:style:0.8>"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("<lora:style:0.8> in a prompt is drawn as text"), std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("1 picture in"), std::string::npos) << result.err;
}

TEST_F(OutputTest, CutsALongPromptBetweenCharacters) {
  std::string prompt;
  for (int i = 0; i < 300; ++i) prompt += "\u732b";
  const auto result = generate({prompt, "--output", "x.png"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("\u732b..."), std::string::npos) << result.err;
  EXPECT_EQ(valid_text(result.err), result.err);
}

TEST_F(OutputTest, AnswersWhatIsAskedOfTheProgram) {
  const std::string version = run({"--version"}).out;
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"-V"}, {"version"}, {"generate", "--version"}, {"plan", "-V"}})
    EXPECT_EQ(run(arguments).out, version) << arguments[0];
  EXPECT_EQ(run({"help", "generate"}).out, run({"generate", "--help"}).out);
  EXPECT_EQ(run({"help", "--help"}).out, run({"--help"}).out);
  for (const auto& [command, hint] : std::vector<std::pair<std::string, std::string>>{
           {"serve", "it is not there yet: see docs/differences.md"},
           {"download", "run: hf download"},
           {"txt2img", "here it is diffract generate"},
           {"a dog", "diffract generate \"a dog\""}}) {
    const auto result = run({command});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(hint), std::string::npos) << result.err;
  }
}

TEST_F(OutputTest, SplitsWhatAScriptHasAtHand) {
  EXPECT_EQ(run({"split", "--num-processes", "2", "[\"a\", \"b\"]"}).out, "[[\"a\"],[\"b\"]]\n");
  EXPECT_EQ(piped("[1, 2, 3]", {"split", "--num-processes", "2", "-"}).out, "[[1,2],[3]]\n");
}

TEST_F(OutputTest, ReadsPromptsFromAPipe) {
  for (const char* name : {"-", "/dev/stdin"}) {
    const auto result = piped("a cat\\na dog\\n", command({"--prompts-file", name, "--json"}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(Json::parse(result.out)["images"][1]["prompt"], "a dog");
  }
  std::vector<std::string> job = {"launch", "--nproc-per-node", "2"};
  for (const auto& argument : command({"--prompts-file", "-"})) job.push_back(argument);
  const auto refused = piped("a cat\\na dog\\n", job);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("the 2 processes of this job cannot share"), std::string::npos) << refused.err;
}

// After a restart a pipe is empty, and a drawn seed another.
TEST_F(OutputTest, RefusesWhatARestartWouldNotRepeat) {
  for (const char* variable : {"TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_RESTART_COUNT"})
    for (const auto& more : std::vector<std::vector<std::string>>{{"--prompts-file", "-"},
                                                                  {"--prompt", "a", "--seed", "random"}}) {
      std::vector<std::string> all = {DIFFRACT_PROGRAM};
      for (const auto& argument : command(more)) all.push_back(argument);
      const auto end = test::RunningProcess(all, {{variable, "1"}}, folder_.path().string()).wait();
      EXPECT_EQ(end.exit_code, 2) << end.err;
      EXPECT_NE(end.err.find("launch without restarts"), std::string::npos) << end.err;
    }
}

// Asked to stop while it computes; how soon is not a test's affair.
TEST_F(OutputTest, SaysAtOnceThatItWasAskedToStop) {
  for (const bool many : {false, true}) {
    std::vector<std::string> all = {DIFFRACT_PROGRAM};
    for (const auto& argument : command({"--prompt", "a"}, "900", "256")) all.push_back(argument);
    if (many) all.insert(all.end(), {"--prompt", "b"});
    test::RunningProcess process(all, {{"DIFFRACT_LOG", "debug"}}, folder_.path().string());
    const auto end_of_patience = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (process.errors().find("step 2 of") == std::string::npos &&
           std::chrono::steady_clock::now() < end_of_patience)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    process.signal(SIGINT);
    const auto end = process.wait(std::chrono::seconds(120));
    EXPECT_EQ(end.exit_code, 130) << end.err;
    EXPECT_NE(end.err.find("once more ends at once"), std::string::npos) << end.err;
    EXPECT_EQ(end.err.find("--resume") != std::string::npos, many) << end.err;
  }
}

}  // namespace
}  // namespace diffract
