// What is typed and how it is understood; nothing is computed.
#include "diffract/cli/arguments.h"

#include <gtest/gtest.h>

#include <set>

#include "diffract/cli/command.h"
#include "diffract/cli/generate_options.h"
#include "diffract/core/error.h"
#include "diffract/jobs/foreign_names.h"
#include "tests/support/temp_folder.h"
#include "tests/support/variable.h"

namespace diffract::cli {
namespace {

using test::error_of;

class GenerateArguments : public ::testing::Test {
 protected:
  // The options as `diffract generate` reads them.
  GenerateOptions parse(const std::vector<const char*>& typed) {
    std::vector<const char*> argv = {"diffract"};
    argv.insert(argv.end(), typed.begin(), typed.end());
    auto arguments = normalise_arguments(static_cast<int>(argv.size()), argv.data());
    GenerateOptions options;
    CLI::App app("", "generate");
    declare_generate_options(app, options);
    refuse_unknown_options(app, arguments);
    arguments = split_short_options(app, arguments);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
    return options;
  }
  std::vector<std::string> prompts(const std::vector<const char*>& typed) {
    std::vector<std::string> all;
    const GenerateOptions options = parse(typed);
    for (const auto& entry : job_requests(options))
      all.insert(all.end(), entry.prompt.begin(), entry.prompt.end());
    return all;
  }
  std::string refused(const std::vector<const char*>& typed) {
    return error_of<UsageError>([&] { prompts(typed); });
  }
};

using Texts = std::vector<std::string>;

TEST_F(GenerateArguments, TakesShortOptions) {
  const auto options =
      parse({"-p", "a dog", "-m", "emoji-flux", "-o", "x.png", "-n", "cats", "-s=5", "-H", "64", "-W64"});
  EXPECT_EQ(options.settings.prompt, Texts{"a dog"});
  EXPECT_EQ(options.model, "emoji-flux");
  EXPECT_EQ(options.output, "x.png");
  EXPECT_EQ(options.settings.negative_prompt, Texts{"cats"});
  EXPECT_EQ(options.seed.value, 5u);
  EXPECT_EQ(options.settings.height, 64);
  EXPECT_EQ(options.settings.width, 64);
  EXPECT_EQ(prompts({"-p", "-rf", "--prompt", "-x"}),
            (Texts{"-rf", "-x"}));  // values, whatever they look like
  EXPECT_EQ(prompts({"--prompt", "-a=b", "-p", "-s=5", "-p=-c=d", "-p="}),
            (Texts{"-a=b", "-s=5", "-c=d", ""}));
}

TEST_F(GenerateArguments, TakesOnePromptAsAPlainWord) {
  EXPECT_EQ(prompts({"a dog"}), Texts{"a dog"});
  EXPECT_EQ(prompts({"--steps", "2", "{a} [b]", "--seed", "1"}), Texts{"{a} [b]"});
  for (const char* word : {"[a dog]", "[a, b]", "[]", "{}", ""}) EXPECT_EQ(prompts({word}), Texts{word});
  EXPECT_EQ(prompts({"--", "-1 degrees"}), Texts{"-1 degrees"});
  for (const auto& typed : std::vector<std::vector<const char*>>{
           {"a", "dog"}, {"[a]", "[b]"}, {"--prompt", "dog", "cat"}, {"--resume", "yes", "--prompt", "a"}}) {
    const std::string message = refused(typed);
    EXPECT_NE(message.find("needs quotes"), std::string::npos) << message;
  }
}

TEST_F(GenerateArguments, SaysWhatAnOptionIsCalledHere) {
  const std::pair<const char*, const char*> cases[] = {
      {"--cfg-scale", "here it is --guidance-scale"},
      {"--CFG_scale", "here it is --guidance-scale"},
      {"--sampler=x", "here it is --scheduler"},
      {"--output-dir", "here it is --output"},
      {"--torch_dtype", "here it is --dtype"},
      {"--half", "here it is --dtype float16"},
      {"--sample-steps", "here it is --steps"},
      {"--lora-scale", "here it is --lora FILE=WEIGHT"},
      {"--upscale", "it is not there yet: see docs/differences.md"},
      {"--init-image", "here it is --image"},
      {"--lowvram", "--device-map auto"},
      {"--vae-tiling", "it is not needed"},
      {"-t", "here it is --threads"},
      {"-b4", "here it is --batch-size"},
      {"--guidance-scal", "did you mean --guidance-scale?"}};
  for (const auto& [typed, hint] : cases) {
    const std::string message = refused({"a dog", typed, "x"});
    EXPECT_NE(message.find(hint), std::string::npos) << typed << ": " << message;
  }
}

// An advice must be one that can be followed, and a name that is known needs none.
TEST_F(GenerateArguments, AdviceNamesOptionsThatThereAre) {
  GenerateOptions options;
  CLI::App app("", "generate");
  declare_generate_options(app, options);
  std::set<std::string_view> names;
  for (const ForeignName& entry : jobs::foreign_options()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name << " stands twice";
    EXPECT_EQ(app.get_option_no_throw("--" + std::string(entry.name)), nullptr) << entry.name;
    const std::string advice(entry.advice);
    if (advice.find("diffract launch") != std::string::npos) continue;
    for (size_t at = advice.find("--"); at != std::string::npos; at = advice.find("--", at + 2)) {
      const std::string option = advice.substr(at, advice.find_first_of(" ,;:", at) - at);
      EXPECT_NE(app.get_option_no_throw(option), nullptr) << advice;
    }
  }
  for (const ForeignName& entry : jobs::foreign_commands())
    for (const Command& command : {generate_command(), tokenize_command(), info_command(), doctor_command(),
                                   plan_command(), split_command(), launch_command()})
      EXPECT_NE(entry.name, command.name);
}

TEST_F(GenerateArguments, DrawsASeedWhereOneAsksForIt) {
  std::set<uint64_t> drawn;
  for (int i = 0; i < 4; ++i)
    for (const char* text : {"random", "-1"}) {
      const auto options = parse({"--seed", text});
      EXPECT_TRUE(options.seed.is_random);
      drawn.insert(options.seed.value);
    }
  EXPECT_GT(drawn.size(), 1u);
  EXPECT_FALSE(parse({"--seed", "1"}).seed.is_random);
  for (const char* text : {"-2", "Random", "1.5", "", "18446744073709551616"})
    EXPECT_THROW(parse({"--seed", text}), CLI::ParseError) << text;
}

TEST_F(GenerateArguments, PathsBeginAtHome) {
  const test::Variable home("HOME", "/home/me");
  const auto options =
      parse({"--output=~/x/{index}.png", "--save-steps=~/s.safetensors", "--offload-folder=~/o",
             "--model=~/m", "--prompts-file=~/p.txt", "--device-map=~/map.json"});
  EXPECT_EQ(options.output, "/home/me/x/{index}.png");
  EXPECT_EQ(options.save_steps, "/home/me/s.safetensors");
  EXPECT_EQ(options.loading.at("offload_folder"), "/home/me/o");
  EXPECT_EQ(options.model, "/home/me/m");
  EXPECT_EQ(options.prompts_file, "/home/me/p.txt");
  EXPECT_EQ(options.loading.at("device_map"), "/home/me/map.json");
}

TEST_F(GenerateArguments, KeepsOneSpellingOfADtype) {
  const auto options =
      parse({"--dtype", "half", "--compute-dtype", "torch.float32", "--noise-dtype", "BF16"});
  EXPECT_EQ(options.loading.at("dtype"), "float16");
  EXPECT_EQ(options.loading.at("compute_dtype"), "float32");
  EXPECT_EQ(options.settings.noise_dtype, at::kBFloat16);
}

}  // namespace
}  // namespace diffract::cli
