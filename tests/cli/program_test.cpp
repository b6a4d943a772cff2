// The program as a user meets it: arguments in, files, text and exit codes out.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "diffract/core/json.h"
#include "diffract/io/safetensors.h"
#include "tests/cli/program_fixture.h"
#include "tests/support/process.h"

namespace diffract {
namespace {

namespace fs = std::filesystem;
using test::Program;

TEST_F(Program, HelpsWithoutBeingAskedTwice) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--help"},
                                                                     {"generate", "--help"},
                                                                     {"tokenize", "--help"},
                                                                     {"info", "--help"},
                                                                     {"doctor", "--help"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out.find("diffract"), std::string::npos);
    if (arguments.size() > 1) {
      EXPECT_NE(result.out.find("Example"), std::string::npos) << result.out;
    }
  }
  EXPECT_EQ(run({}).exit_code, 2);
  EXPECT_NE(run({"--version"}).out.find("diffract 0."), std::string::npos);
}

TEST_F(Program, SuggestsWhatWasMeant) {
  const auto option = generate({"--prompt", "a", "--guidance-scal", "3"});
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_NE(option.err.find("did you mean --guidance-scale?"), std::string::npos) << option.err;
  // What generate calls it is of no use to a command that has no such option.
  const auto elsewhere = run({"info", "--sampler", "x"});
  EXPECT_EQ(elsewhere.exit_code, 2);
  EXPECT_NE(elsewhere.err.find("unknown option --sampler"), std::string::npos) << elsewhere.err;
  EXPECT_EQ(elsewhere.err.find("--scheduler"), std::string::npos) << elsewhere.err;
  const auto command = run({"generat"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_NE(command.err.find("did you mean generate?"), std::string::npos) << command.err;
  const auto scheduler = generate({"--prompt", "a", "--scheduler", "EulerDiscreteSheduler"});
  EXPECT_EQ(scheduler.exit_code, 2);
  EXPECT_NE(scheduler.err.find("did you mean EulerDiscreteScheduler?"), std::string::npos) << scheduler.err;
}

TEST_F(Program, WritesPicturesThatSayHowTheyWereMade) {
  const auto result = generate({"--prompt", "a dog, running", "--negative-prompt", "blurry", "--seed", "5",
                                "--guidance_scale=6.5", "--num_images_per_prompt", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json summary = Json::parse(result.out);
  ASSERT_EQ(summary["images"].size(), 2u);
  EXPECT_EQ(summary["images"][1]["file"], "image_1.png");
  EXPECT_EQ(summary["images"][1]["seed"], 6);
  EXPECT_EQ(text_of("image_1.png", "parameters"),
            fmt::format(
                "a dog, running\nNegative prompt: blurry\nSteps: 2, Sampler: PNDMScheduler, CFG scale: 6.5, "
                "Seed: 6, Size: 64x64, Model: sd15, Version: diffract 0.1.0"));
  EXPECT_EQ(Json::parse(text_of("image_1.png", "diffract"))["negative_prompt"], "blurry");
  EXPECT_EQ(files(), 3u);  // and their manifest
}

TEST_F(Program, TakesPromptsAsTheyAre) {
  const std::vector<std::string> prompts = {"",    " ",  "{}",     "[a, b]", "--steps",
                                            "a=b", "%%", "你好 🐶", "a\nb",   "\\n"};
  std::vector<std::string> arguments = {"--json"};
  for (const auto& prompt : prompts) arguments.push_back("--prompt=" + prompt);
  const auto result = generate(arguments);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json summary = Json::parse(result.out);
  ASSERT_EQ(summary["images"].size(), prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(summary["images"][i]["prompt"], prompts[i]);
  const auto word = generate({"--json", "[a, b]"});  // without --prompt before it
  ASSERT_EQ(word.exit_code, 0) << word.err;
  EXPECT_EQ(Json::parse(word.out)["images"][0]["prompt"], "[a, b]");
}

TEST_F(Program, NamesFilesByThePattern) {
  const auto result = generate({"--prompt", "a dog", "--prompt", "../a/cat!", "--seed", "3", "--output",
                                "sub/{index}_{seed}_{rank}_{prompt}.png"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(fs::exists(folder_ / "sub/0_3_0_a_dog.png"));
  EXPECT_TRUE(fs::exists(folder_ / "sub/1_4_0_acat!.png")) << result.out;
}

TEST_F(Program, RefusesNamesBeforeItComputes) {
  for (const auto& [pattern, code] :
       std::vector<std::pair<std::string, int>>{{"one.png", 2},
                                                {"{prompt.png", 2},
                                                {"a}.png", 2},
                                                {"{step}.png", 2},
                                                {"x/", 2},
                                                {"/proc/none/{index}.png", 6}}) {
    const auto result = generate({"--prompt", "a", "--prompt", "b", "--output", pattern});
    EXPECT_EQ(result.exit_code, code) << pattern << ": " << result.err;
    EXPECT_EQ(result.err.find("steps"), std::string::npos) << result.err;
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(Program, ReadsPromptsFromFiles) {
  folder_.file("p.txt", "a dog\r\n\na cat\n");
  ASSERT_EQ(generate({"--prompts-file", "p.txt"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "image_1.png"));
  folder_.file("p.jsonl", R"({"prompt": "a dog", "seed": 77, "height": 72}
{"prompt": "a cat", "negative_prompt": "x", "num_images_per_prompt": 2, "guidance_scale": 3})");
  const auto result =
      generate({"--prompts-file", "p.jsonl", "--json", "--seed", "10", "--output", "j{index}.png"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json images = Json::parse(result.out)["images"];
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0]["seed"], 77);
  EXPECT_EQ(images[2]["seed"], 12);
  EXPECT_EQ(io::load_png(folder_ / "j0.png").image.height, 72u);
}

TEST_F(Program, NamesTheLineOfAPromptsFile) {
  for (const auto& [line, named] : std::vector<std::pair<std::string, std::string>>{
           {R"({"prompt": 5})", "\"prompt\""},
           {R"({"negative_prompt": "x"})", "no \"prompt\""},
           {R"({"prompt": "a", "sed": 1})", "\"sed\""},
           {R"({"prompt": "a", "seed": -1})", "\"seed\""},
           {R"({"prompt": "a", "height": "tall"})", "\"height\""},
           {R"({"prompt": "a")", "JSON"},
           {"[]", "object"}}) {
    folder_.file("p.jsonl", "{\"prompt\": \"ok\"}\n" + line + "\n");
    const auto result = generate({"--prompts-file", "p.jsonl"});
    EXPECT_EQ(result.exit_code, 2) << line;
    EXPECT_NE(result.err.find("p.jsonl:2"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
  }
}

TEST_F(Program, SavesStepsAndLatents) {
  const auto result = generate({"--prompt", "a", "--prompt", "b", "--save-steps", "s.safetensors",
                                "--output-type", "latent", "--output", "l.safetensors"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto steps = io::SafetensorsFile::open(folder_ / "s.safetensors");
  for (const char* name : {"latents_000", "latents_001", "latents_002"}) {
    ASSERT_NE(steps->find(name), nullptr) << name;  // PNDM evaluates one timestep twice
    EXPECT_EQ(steps->find(name)->shape, (std::vector<uint64_t>{2, 4, 8, 8}));
  }
  EXPECT_EQ(io::SafetensorsFile::open(folder_ / "l.safetensors")->find("latents")->shape[0], 2u);
  EXPECT_EQ(files(), 2u);
}

TEST_F(Program, RefusesPicturesWhoseLatentsDoNotGoIntoOneFile) {
  folder_.file("sizes.jsonl", "{\"prompt\": \"a\", \"height\": 64}\n{\"prompt\": \"b\", \"height\": 72}\n");
  folder_.file("steps.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"num_inference_steps\": 3}\n");
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"--prompts-file", "sizes.jsonl", "--output-type", "latent", "--output", "l.safetensors"},
           {"--prompts-file", "sizes.jsonl", "--save-steps", "s.safetensors"},
           {"--prompts-file", "steps.jsonl", "--save-steps", "s.safetensors"}}) {
    const auto result = generate(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments[1] << arguments[2];
    EXPECT_NE(result.err.find("pictures 0 and 1 differ"), std::string::npos) << result.err;
  }
}

TEST_F(Program, GoesOnWhereItWasStopped) {
  ASSERT_EQ(generate({"--prompt", "a", "--prompt", "b"}).exit_code, 0);
  const auto before = fs::last_write_time(folder_ / "image_0.png");
  fs::remove(folder_ / "image_1.png");
  ASSERT_EQ(generate({"--prompt", "a", "--prompt", "b", "--resume"}).exit_code, 0);
  EXPECT_EQ(fs::last_write_time(folder_ / "image_0.png"), before);
  EXPECT_TRUE(fs::exists(folder_ / "image_1.png"));
  // Other parameters are another picture.
  ASSERT_EQ(generate({"--prompt", "a", "--prompt", "b", "--resume", "--seed", "9"}).exit_code, 0);
  EXPECT_NE(fs::last_write_time(folder_ / "image_0.png"), before);
}

TEST_F(Program, ReplacesNoDeviceAndNoPipe) {
  for (const char* pipe : {"p.png", "p.safetensors"}) ASSERT_EQ(::mkfifo((folder_ / pipe).c_str(), 0600), 0);
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"--output", "p.png"},
                                             {"--save-steps", "p.safetensors"},
                                             {"--output-type", "latent", "--output", "p.safetensors"}}) {
    auto all = arguments;
    all.insert(all.end(), {"--prompt", "a"});
    const auto result = generate(all);
    EXPECT_EQ(result.exit_code, 6) << result.err;
    EXPECT_NE(result.err.find("no regular file"), std::string::npos) << result.err;
  }
  EXPECT_TRUE(fs::is_fifo(folder_ / "p.png"));
  EXPECT_EQ(files(), 2u);
}

TEST_F(Program, SaysThatStandardOutputIsFull) {
  const std::string program = DIFFRACT_PROGRAM;
  for (const std::string& arguments :
       {"split --num-processes 2 l.json", "tokenize --model emoji-sd a", "--version"}) {
    folder_.file("l.json", "[1, 2]");
    test::RunningProcess process({"/bin/sh", "-c", program + " " + arguments + " >/dev/full"}, {},
                                 folder_.path().string());
    const auto end = process.wait();
    EXPECT_EQ(end.exit_code, 6) << arguments;
    EXPECT_NE(end.err.find("standard output: cannot be written"), std::string::npos) << end.err;
  }
}

// File names are bytes; JSON and PNG texts are UTF-8.
TEST_F(Program, TakesNamesThatAreNotUtf8) {
  fs::create_directory_symlink(model_, folder_ / "model\xff");
  const std::vector<std::string> arguments = {"generate", "--model",  "model\xff", "--steps", "1",
                                              "--height", "64",       "--width",   "64",      "--prompt",
                                              "a",        "--output", "a\xff.png", "--json"};
  ASSERT_EQ(run(arguments).exit_code, 0) << run(arguments).err;
  const auto before = fs::last_write_time(folder_ / "a\xff.png");
  auto again = arguments;
  again.push_back("--resume");
  const auto result = run(again);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(fs::last_write_time(folder_ / "a\xff.png"), before);
}

TEST_F(Program, SaysWhatCannotBeRead) {
  fs::copy(model_, folder_ / "model", fs::copy_options::recursive);
  fs::remove(folder_ / "model/unet/config.json");
  fs::create_symlink("config.json", folder_ / "model/unet/config.json");
  const auto loop = run({"generate", "--model", "model", "--prompt", "a"});
  EXPECT_EQ(loop.exit_code, 6) << loop.err;
  EXPECT_NE(loop.err.find("unet/config.json"), std::string::npos) << loop.err;
  fs::create_symlink("self", folder_ / "self");
  const auto info = run({"info", "self"});
  EXPECT_EQ(info.exit_code, 3) << info.err;
}

TEST_F(Program, RefusesOptionsOutOfRange) {
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"--prompt", "a", "--seed", "-2"},
                                             {"--prompt", "a", "--seed", "1.5"},
                                             {"--prompt", "a", "--seed", "99999999999999999999999"},
                                             {"--prompt", "a", "--steps", "0"},
                                             {"--prompt", "a", "--steps", "two"},
                                             {"--prompt", "a", "--height", "65"},
                                             {"--prompt", "a", "--batch-size", "0"},
                                             {"--prompt", "a", "--threads", "-2"},
                                             {"--prompt", "a", "--dtype", "int8"},
                                             {"--prompt", "a", "--compute-dtype", "int4"},
                                             {"--prompt", "a", "--device", "cuda"},
                                             {"--prompt", "a", "--device", "gpu"},
                                             {"--prompt", "a", "--float8"},
                                             {"--prompt", "a", "--allow-tf32"},
                                             {"--prompt", "a", "--allow-tf32", "--device-map", "auto"},
                                             {"--prompt", "a", "--output-type", "jpeg"},
                                             {"--prompt", "a", "--scheduler-config", "{"},
                                             {"--prompt", "a", "--scheduler-config", "[1]"},
                                             {"--prompt", "a", "--eta", "5"},
                                             {"--prompt", "a", "--prompt-2", "b"},
                                             {"--prompt", "a", "stray"},
                                             {"--prompt"},
                                             {"--prompts-file", "none.txt"},
                                             {}}) {
    const auto result = generate(arguments);
    EXPECT_EQ(result.exit_code, 2) << fmt::format("{}", arguments.empty() ? "" : arguments.back()) << ": "
                                   << result.err;
    EXPECT_NE(result.err.find("error"), std::string::npos);
    EXPECT_EQ(result.err.find("terminate"), std::string::npos) << result.err;
  }
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace diffract
