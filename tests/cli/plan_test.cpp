// diffract plan as a user meets it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/json.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

class PlanProgram : public ::testing::Test {
 protected:
  test::ProgramResult plan(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "plan");
    // Given speeds are not measured, which saves half a second a run.
    for (const char* speed : {"--gflops=100", "--host-gbps=10", "--disk-gbps=1"}) arguments.push_back(speed);
    return test::run_diffract(arguments, folder_.path().string());
  }
  Json plan_json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const auto result = plan(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? parse_json(result.out, "stdout") : Json();
  }
  // A folder that holds nothing but the config of a full-size model.
  std::string config_folder(const std::string& name) const {
    const auto folder = folder_ / name;
    std::filesystem::create_directory(folder);
    std::filesystem::copy_file(test::data("placement/configs/" + name + ".json"), folder / "config.json");
    return folder.string();
  }

  test::TempFolder folder_;
  std::string flux_ = test::data("reference/checkpoints/flux-dev").string();
};

TEST_F(PlanProgram, PlansFluxFromItsConfigAlone) {
  const Json plan = plan_json({"--model", config_folder("flux-dev-transformer"), "--dtype", "bfloat16",
                               "--device-map", "auto", "--max-memory", "0=16GB,1=16GB"});
  const Json& map = plan["device_map"];
  EXPECT_EQ(map["transformer_blocks.16"], 0);
  EXPECT_EQ(map["transformer_blocks.17"], 1);
  EXPECT_EQ(map["single_transformer_blocks"], 1);
  EXPECT_EQ(map["pos_embed"], 0);
  EXPECT_EQ(plan["memory"]["0"]["budget"], 16'000'000'000);
  EXPECT_EQ(plan["memory"]["0"]["weights"], 11'644'359'680);
  EXPECT_EQ(plan["memory"]["1"]["weights"], 12'158'456'960);
  EXPECT_GT(plan["memory"]["0"]["working"], 100'000'000);
  EXPECT_EQ(plan["memory"]["0"]["staging"], 0);
  EXPECT_EQ(plan["runs"][0]["from_cpu_bytes"], 0);
}

// Of what a block weighs, the part that each of 28 steps brings: what it takes from its time alone, a third
// of a two-stream block and a fifth of a one-stream one, is brought once for all of them.
double brought_each_step(const Json& block) {
  const auto name = block["name"].get<std::string>();
  const double rare = name.starts_with("single_transformer_blocks.") ? 1.0 / 5
                      : name.starts_with("transformer_blocks.")      ? 1.0 / 3
                                                                     : 0;
  return block["bytes"].get<double>() * (1 - rare * 27 / 28);
}

TEST_F(PlanProgram, SaysWhatOffloadingCosts) {
  const auto folder = config_folder("flux-dev-transformer");
  const std::vector<std::string> arguments = {"--model",      folder,       "--dtype",      "bfloat16",
                                              "--device-map", "sequential", "--max-memory", "0=8GB,cpu=10GB"};
  const Json report = plan_json(arguments), &run = report["runs"][0];
  const double moved = run["from_cpu_bytes"].get<double>() + run["from_disk_bytes"].get<double>();
  double offloaded = 0;
  for (const Json& block : report["blocks"])
    if (block["place"] != 0) offloaded += brought_each_step(block);
  EXPECT_GT(offloaded, 10e9);
  EXPECT_NEAR(moved / offloaded, 1, 2e-4);  // biases and norms are not quite these parts
  // 10 GB/s to the device, 1 GB/s from disk, at once; a step takes the longest of the three.
  EXPECT_NEAR(run["transfer_seconds"].get<double>(),
              std::max(moved / 1e10, run["from_disk_bytes"].get<double>() / 1e9), 1e-6);
  EXPECT_EQ(run["seconds"],
            std::max(run["transfer_seconds"].get<double>(), run["compute_seconds"].get<double>()));
  const auto text = plan(arguments);
  EXPECT_TRUE(text.out.starts_with("{'pos_embed': 0, ")) << text.out;
  EXPECT_NE(text.out.find("on disk: "), std::string::npos);
  EXPECT_NE(text.out.find("brings "), std::string::npos);
}

TEST_F(PlanProgram, PlansAPipelineInStages) {
  const Json plan = plan_json({"--model", flux_, "--device-map", "auto", "--max-memory", "0=12MB,cpu=1GB",
                               "--height", "64", "--width", "64"});
  EXPECT_EQ(plan["stages"].size(), 3u);
  EXPECT_EQ(plan["stages"][0]["components"], "text_encoder, text_encoder_2");
  EXPECT_EQ(plan["device_map"],
            Json({{"text_encoder", 0}, {"text_encoder_2", 0}, {"transformer", 0}, {"vae", 0}}));
  EXPECT_EQ(plan["height"], 64);
}

TEST_F(PlanProgram, BalancesComponentsAsDiffusersDoes) {
  const Json plan = plan_json({"--model", flux_, "--device-map", "balanced", "--max-memory", "0=1GB,1=1GB"});
  EXPECT_EQ(plan["device_map"].size(), 4u);
  for (const auto& [name, place] : plan["device_map"].items()) EXPECT_TRUE(place == 0 || place == 1) << name;
}

// As generate computes: without --dtype in float32, whatever the files hold; and of a variant's files.
TEST_F(PlanProgram, CountsTheArithmeticThatARunHas) {
  const auto sd = test::data("reference/checkpoints/sd15-fp16").string();
  const auto memory = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--model", sd, "--variant", "fp16", "--max-memory", "0=1GB"});
    return plan_json(more)["memory"]["0"];
  };
  const Json unset = memory({}), half = memory({"--dtype", "float16"}),
             wide = memory({"--dtype", "float16", "--compute-dtype", "float32"});
  EXPECT_EQ(unset, wide);
  EXPECT_EQ(unset["weights"], half["weights"]);
  EXPECT_GT(unset["working"].get<int64_t>(), half["working"].get<int64_t>());
}

TEST_F(PlanProgram, TakesAMapOfTheUsers) {
  const auto map = folder_.file("map.json", R"({"": "cuda:0", "transformer_blocks": "cpu", "typo": 1})");
  const auto result = plan({"--model", flux_, "--component", "transformer", "--device-map", map.string(),
                            "--max-memory", "0=1GB,cpu=1GB", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json plan = parse_json(result.out, "stdout");
  EXPECT_EQ(plan["device_map"], Json({{"", 0}, {"transformer_blocks", "cpu"}, {"typo", 1}}));
  EXPECT_NE(result.err.find("\"typo\" names nothing"), std::string::npos) << result.err;
}

// What generate takes, plan takes, and the other way about; only that plan's devices need not be here.
TEST_F(PlanProgram, TakesTheDeviceMapsThatGenerateTakes) {
  const auto place = [&](const std::string& map) {
    return plan_json({"--model", flux_, "--component", "vae", "--device-map", map})["device_map"];
  };
  EXPECT_EQ(place("cpu"), Json({{"", "cpu"}}));
  EXPECT_EQ(place("cuda:1"), Json({{"", 1}}));
  const auto no_suffix = folder_.file("cuda_map", R"({"": "cpu"})").string();
  EXPECT_EQ(place(no_suffix), Json({{"", "cpu"}}));
  EXPECT_EQ(place("cuda_map"), Json({{"", "cpu"}}));
  folder_.file("auto", "no map");  // what lies about does not change what a strategy's name means
  EXPECT_EQ(plan({"--model", flux_, "--component", "vae", "--device-map", "auto"}).exit_code, 0);
  for (const char* map : {"none.json", "./auto"}) {
    const auto bad = plan({"--model", flux_, "--device-map", map});
    EXPECT_EQ(bad.exit_code, 2) << bad.err;
  }
  const auto unknown = plan({"--model", flux_, "--device-map", "evenly"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("a device, or a JSON file"), std::string::npos) << unknown.err;

  const auto sd = test::data("reference/checkpoints/sd15").string();
  const auto generate = [&](const std::string& map) {
    return test::run_diffract({"generate", "--model", sd, "--prompt", "a", "--steps", "1", "--height", "64",
                               "--width", "64", "--device-map", map},
                              folder_.path().string());
  };
  for (const char* map : {"cpu", "cuda_map"}) {
    const auto result = generate(map);
    EXPECT_EQ(result.exit_code, 0) << map << ": " << result.err;
  }
  const auto other = generate("evenly");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("a device, or a JSON file"), std::string::npos) << other.err;
}

TEST_F(PlanProgram, WarnsWhenComputingDoesNotFitBesideTheWeights) {
  const auto result =
      plan({"--model", config_folder("sd15-unet"), "--dtype", "float16", "--device-map", "sequential",
            "--max-memory", "0=1.8GB,cpu=9GB", "--height", "2048", "--width", "2048"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("more than its budget"), std::string::npos) << result.err;
}

TEST_F(PlanProgram, RefusesWhatItCannotPlan) {
  const auto bad_map = folder_.file("bad.json", R"({"transformer_blocks": 0})").string();
  const auto no_config = folder_.path().string();
  const std::vector<std::pair<std::vector<std::string>, int>> cases = {
      {{"--model", flux_, "--max-memory", "0=16"}, 4},  // bytes
      {{"--model", flux_, "--device-map", "evenly"}, 2},
      {{"--model", flux_, "--max-memory", "gpu=1GB"}, 2},
      {{"--model", flux_, "--max-memory", ""}, 2},
      {{"--model", flux_, "--component", "unet"}, 2},
      {{"--model", flux_, "--component", "scheduler"}, 3},
      {{"--model", flux_, "--component", "transformer", "--device-map", bad_map}, 2},
      {{"--model", flux_, "--dtype", "int8"}, 2},
      {{"--model", flux_, "--height", "-8"}, 2},
      {{"--model", flux_, "--device-map", "auto", "--max-memory", "0=1MB,cpu=1GB"}, 4},
      {{"--model", no_config}, 3}};
  for (const auto& [arguments, exit_code] : cases) {
    const auto result = plan(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << fmt::format("{}: {}", arguments.back(), result.err);
  }
}

}  // namespace
}  // namespace diffract
