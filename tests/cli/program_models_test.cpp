// What the program says of models, and how it takes the machine.
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

// One name of a model in the log, the summary and the picture, which tells nothing of where it lies.
TEST_F(Program, NamesAModelsFolderByItsNameAlone) {
  fs::create_directories(folder_ / "some");
  fs::copy(model_, folder_ / "some/model", fs::copy_options::recursive);
  const auto draw = [&](const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {"generate", "--model",  model, "--prompt", "a",  "--steps",
                                    "1",        "--height", "64",  "--width",  "64", "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const std::string absolute = (folder_ / "some/model").string();
  const auto first = draw(absolute);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.err.find("diffract: model: weights as stored"), std::string::npos) << first.err;
  EXPECT_EQ(Json::parse(first.out)["model"], "model");
  const Json parameters = Json::parse(text_of("image_0.png", "diffract"));
  EXPECT_EQ(parameters["model"], "model");
  EXPECT_EQ(parameters["model_hash"].get<std::string>().size(), 16u);
  for (const char* key : {"diffract", "parameters"})
    EXPECT_EQ(text_of("image_0.png", key).find("some"), std::string::npos) << text_of("image_0.png", key);
  // The same model, typed in another way, goes on; another one of the same name does not.
  const auto before = fs::last_write_time(folder_ / "image_0.png");
  for (const std::string& typed :
       {absolute + "/", std::string("some/model"), std::string("./some//model/")}) {
    const auto again = draw(typed, {"--resume"});
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_NE(again.err.find("diffract: model: weights"), std::string::npos) << again.err;
    EXPECT_EQ(fs::last_write_time(folder_ / "image_0.png"), before) << typed;
  }
  fs::create_directories(folder_ / "other");
  fs::rename(folder_ / "some/model", folder_ / "other/model");
  Json config = load_json(folder_ / "other/model/scheduler/scheduler_config.json");
  config["beta_end"] = 0.011;
  folder_.file("other/model/scheduler/scheduler_config.json", config.dump());
  ASSERT_EQ(draw("other/model", {"--resume"}).exit_code, 0);
  EXPECT_NE(fs::last_write_time(folder_ / "image_0.png"), before);
}

TEST_F(Program, NamesAModelOfTheCacheWithItsCommit) {
  const std::string commit = "0123456789abcdef0123456789abcdef01234567";
  folder_.file("hub/models--me--tiny/refs/main", commit);
  fs::create_directories(folder_ / "hub/models--me--tiny/snapshots");
  fs::copy(model_, folder_ / ("hub/models--me--tiny/snapshots/" + commit), fs::copy_options::recursive);
  test::RunningProcess process({DIFFRACT_PROGRAM, "generate", "--model", "me/tiny@main", "--prompt", "a",
                                "--steps", "1", "--height", "64", "--width", "64", "--json"},
                               {{"HF_HUB_CACHE", (folder_ / "hub").string()}}, folder_.path().string());
  const auto result = process.wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("diffract: me/tiny: weights as stored"), std::string::npos) << result.err;
  const Json summary = Json::parse(result.out), parameters = Json::parse(text_of("image_0.png", "diffract"));
  for (const Json* json : {&summary, &parameters}) {
    EXPECT_EQ((*json)["model"], "me/tiny");
    EXPECT_EQ((*json)["revision"], commit);
  }
}

TEST_F(Program, SaysWhichSizeAFluxPictureHas) {
  const auto result =
      run({"generate", "--model", test::data("reference/checkpoints/flux-dev").string(), "--prompt", "a",
           "--steps", "1", "--height", "40", "--width", "63", "--max-sequence-length", "16", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("multiples of 16"), std::string::npos) << result.err;
  const Json image = Json::parse(result.out)["images"][0],
             parameters = Json::parse(text_of("image_0.png", "diffract"));
  for (const Json* json : {&image, &parameters}) {
    EXPECT_EQ((*json)["width"], 48);
    EXPECT_EQ((*json)["height"], 32);
  }
  EXPECT_EQ(io::load_png(folder_ / "image_0.png").image.width, 48u);
}

TEST_F(Program, SaysWhatACheckpointsSchedulerNeedsBeforeItReadsWeights) {
  fs::copy(model_, folder_ / "model", fs::copy_options::recursive);
  Json index = load_json(folder_ / "model/model_index.json");
  index["scheduler"] = {"diffusers", "SCMScheduler"};
  folder_.file("model/model_index.json", index.dump());
  folder_.file("model/unet/diffusion_pytorch_model.safetensors", "");
  const auto result = run({"generate", "--model", "model", "--prompt", "a"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  for (const char* part : {"SCMScheduler", "scheduler_config.json", "--scheduler "})
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("did you mean"), std::string::npos) << result.err;
}

TEST_F(Program, DrawsInTheHeightAndWidthThatTheModelWasTrainedFor) {
  fs::copy(model_, folder_ / "model", fs::copy_options::recursive);
  Json config = load_json(folder_ / "model/unet/config.json");
  config["sample_size"] = {40, 24};
  folder_.file("model/unet/config.json", config.dump());
  const Json plan =
      Json::parse(run({"plan", "--model", "model", "--device-map", "cpu", "--gflops", "1", "--json"}).out);
  EXPECT_EQ(plan["height"], 320);
  EXPECT_EQ(plan["width"], 192);
  const auto result = run({"generate", "--model", "model", "--prompt", "a", "--steps", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto image = io::load_png(folder_ / "image_0.png").image;
  EXPECT_EQ(image.height * 3, image.width * 5);
}

// A checkpoint with a safety checker whose files are missing does not draw as if there were none.
TEST_F(Program, SaysHowToLeaveASafetyCheckerOut) {
  fs::copy(model_, folder_ / "model", fs::copy_options::recursive);
  Json index = load_json(folder_ / "model/model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  index["feature_extractor"] = {"transformers", "CLIPImageProcessor"};
  index["requires_safety_checker"] = true;
  folder_.file("model/model_index.json", index.dump());
  folder_.file("model/feature_extractor/preprocessor_config.json", "{}");
  std::vector<std::string> command = {"generate", "--model",  "model", "--prompt", "a",  "--steps",
                                      "1",        "--height", "64",    "--width",  "64", "--json"};
  const auto refused = run(command);
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  for (const char* part : {"safety_checker", "no such folder", "--no-safety-checker"})
    EXPECT_NE(refused.err.find(part), std::string::npos) << refused.err;
  command.emplace_back("--no-safety-checker");
  const auto result = run(command);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json summary = Json::parse(result.out);
  EXPECT_EQ(summary["no_safety_checker"], true);
  EXPECT_FALSE(summary["images"][0].contains("nsfw_content_detected"));
}

TEST_F(Program, SaysWhichPicturesTheSafetyCheckerHeldBack) {
  fs::copy(test::data("reference/checkpoints/sd15"), folder_ / "model", fs::copy_options::recursive);
  fs::copy(test::data("reference/parts"), folder_ / "model", fs::copy_options::recursive);
  Json index = load_json(folder_ / "model/model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  index["feature_extractor"] = {"transformers", "CLIPImageProcessor"};
  folder_.file("model/model_index.json", index.dump());
  std::vector<std::string> command = {
      "generate", "--model", "model",    "--prompt", "a dog",   "--prompt", "a red bicycle", "--seed", "31",
      "--steps",  "3",       "--height", "64",       "--width", "64",       "--json"};
  const auto flags_of = [](const Json& summary) {
    Json flags = Json::array();
    for (const Json& image : summary["images"]) flags.push_back(image["nsfw_content_detected"]);
    return flags;
  };
  const auto result = run(command);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(flags_of(Json::parse(result.out)), Json({true, false}));
  EXPECT_NE(result.err.find("the safety checker holds 1 of 1 pictures back"), std::string::npos)
      << result.err;
  const auto is_black = [&](const char* name) {
    const auto pixels = io::load_png(folder_ / name).image.pixels;
    return std::all_of(pixels.begin(), pixels.end(), [](uint8_t value) { return value == 0; });
  };
  EXPECT_TRUE(is_black("image_0.png"));
  EXPECT_FALSE(is_black("image_1.png"));
  EXPECT_EQ(text_of("image_0.png", "nsfw_content_detected"), "true");
  EXPECT_EQ(text_of("image_1.png", "nsfw_content_detected"), "false");
  // What was found is said again, by the manifest as by the pictures themselves.
  command.emplace_back("--resume");
  const auto resumed = run(command);
  EXPECT_EQ(flags_of(Json::parse(resumed.out)), Json({true, false}));
  EXPECT_NE(resumed.err.find("2 pictures are there already"), std::string::npos) << resumed.err;
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    if (entry.path().extension() == ".jsonl") fs::remove(entry.path());
  EXPECT_EQ(flags_of(Json::parse(run(command).out)), Json({true, false}));
  // Without the checker they are other pictures.
  command.emplace_back("--no-safety-checker");
  ASSERT_EQ(run(command).exit_code, 0);
  EXPECT_FALSE(is_black("image_0.png"));
}

TEST_F(Program, TokenizesAsTheModelDoes) {
  const auto result = run({"tokenize", "--model", model_, "--json", "<|ENDOFTEXT|> a <|endoftext|>b"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json tokens = Json::parse(result.out);
  EXPECT_EQ(tokens["input_ids"],
            Json({1212, 27, 347, 524, 639, 69, 600, 1052, 91, 285, 320, 1213, 321, 1213}));
  EXPECT_EQ(tokens["tokens"][10], "a</w>");
  EXPECT_EQ(
      Json::parse(
          run({"tokenize", "--model", model_, "--max-length", "5", "--json", "a b c d e"}).out)["cut_tokens"],
      2);
  EXPECT_EQ(run({"tokenize", "--model", model_, "--max-length", "-5", "a"}).exit_code, 2);
  EXPECT_EQ(run({"tokenize", "--model", "/none", "a"}).exit_code, 3);
}

TEST_F(Program, DescribesModelsFilesAndPictures) {
  const Json model = Json::parse(run({"info", model_, "--json"}).out);
  EXPECT_EQ(model["class"], "StableDiffusionPipeline");
  EXPECT_GT(model["components"]["unet"]["parameters"].get<int64_t>(), 100'000);
  const Json file =
      Json::parse(run({"info", model_ + "/unet/diffusion_pytorch_model.safetensors", "--json"}).out);
  EXPECT_EQ(file["tensors"].size(), 208u);
  ASSERT_EQ(generate({"--prompt", "a dog"}).exit_code, 0);
  EXPECT_NE(run({"info", "image_0.png"}).out.find("a dog"), std::string::npos);
  EXPECT_EQ(Json::parse(run({"info", "image_0.png", "--json"}).out)["width"], 64);
  EXPECT_EQ(run({"info", "none"}).exit_code, 3);
  EXPECT_EQ(run({"info"}).exit_code, 2);
}

TEST_F(Program, ExaminesTheMachine) {
  const auto result = run({"doctor", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json report = Json::parse(result.out);
  EXPECT_GT(report["matmul_gflops"]["float32"].get<double>(), 0);
  EXPECT_GE(report["threads"].get<int>(), 1);
  EXPECT_EQ(report["libtorch"], "2.11.0");
}

TEST_F(Program, TakesOneThreadForAModelThatIsTooSmallForTwo) {
  const auto threads = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {DIFFRACT_PROGRAM, "generate", "--model", model_, "--steps",  "1",
                                        "--height",       "64",       "--width", "64",   "--prompt", "a dog",
                                        "--prompt",       "a cat"};
    command.insert(command.end(), more.begin(), more.end());
    const auto end = test::RunningProcess(command, {{"OMP_NUM_THREADS", ""}}, folder_.path().string()).wait();
    EXPECT_EQ(end.exit_code, 0) << end.err;
    std::ifstream manifest(folder_ / "manifest.jsonl");
    std::string line;
    std::getline(manifest, line);
    return Json::parse(line)["threads"];
  };
  EXPECT_EQ(threads({}), 1);
  EXPECT_EQ(threads({"--threads", "2"}), 2);
  // A size that no picture can have is that picture's failure, and does not count.
  folder_.file("p.jsonl",
               "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"height\": 9007199254740992, "
               "\"width\": 9007199254740992}\n");
  const auto some = generate({"--prompts-file", "p.jsonl", "--output", "some/{index}.png"});
  EXPECT_EQ(some.exit_code, 7) << some.err;
  EXPECT_TRUE(fs::exists(folder_ / "some/0.png")) << some.err;
}

// What libgomp itself says it read (bounded_spin.cpp sets it before libgomp is initialised), and that the
// variable whose entry was replaced is there again.
TEST_F(Program, BoundsTheSpinOfItsThreads) {
  const auto start = [&](std::map<std::string, std::string> variables, std::vector<std::string> arguments) {
    variables.insert({{"OMP_DISPLAY_ENV", "verbose"}, {"GOMP_SPINCOUNT", ""}, {"OMP_WAIT_POLICY", ""}});
    arguments.insert(arguments.begin(), DIFFRACT_PROGRAM);
    return test::RunningProcess(arguments, variables, folder_.path().string()).wait();
  };
  const auto expect = [&](const std::map<std::string, std::string>& variables, const std::string& turns) {
    const auto end = start(variables, {"--version"});
    EXPECT_EQ(end.exit_code, 0) << end.err;
    EXPECT_NE(end.err.find("GOMP_SPINCOUNT = '" + turns + "'"), std::string::npos) << end.err;
  };
  expect({}, "1000");
  expect({{"GOMP_SPINCOUNT", "77"}}, "77");
  expect({{"OMP_WAIT_POLICY", "passive"}}, "0");
  for (const char* lender : {"_", "OLDPWD", "PATH"}) {
    std::map<std::string, std::string> variables = {{"_", ""}, {"OLDPWD", ""}};
    if (lender != std::string("PATH")) variables[lender] = "/here";
    const auto end = start(variables, {"launch", "/usr/bin/printenv", lender, "GOMP_SPINCOUNT"});
    EXPECT_EQ(end.exit_code, 0) << end.err;
    EXPECT_EQ(end.out,
              (lender == std::string("PATH") ? std::getenv("PATH") : std::string("/here")) + "\n1000\n");
  }
}

}  // namespace
}  // namespace diffract
