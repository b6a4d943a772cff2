// `generate` with its models divided over processes: the pictures of one process, byte for byte.
#include <csignal>

#include "tests/cli/job_fixture.h"

namespace diffract::test {
namespace {

namespace fs = std::filesystem;

struct Model {
  std::string label;
  std::string name;  // of its checkpoint
  std::vector<std::string> options;
  std::vector<std::string> loading = {};  // those that `plan` has, too
};

std::vector<std::string> joined(std::vector<std::string> all, const std::vector<std::string>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

const Model kFlux{
    "Flux", "flux-dev", {"--steps", "3", "--height", "96", "--width", "128", "--max-sequence-length", "32"}};
const Model kFluxTrueCfg{"FluxTrueCfg",
                         "flux-dev",
                         {"--steps", "2", "--height", "64", "--width", "64", "--max-sequence-length", "32",
                          "--negative-prompt", "blurry", "--true-cfg-scale", "4"}};
const Model kStableDiffusion{"StableDiffusion", "sd15", {"--steps", "3", "--height", "64", "--width", "64"}};
const Model kStableDiffusionXL{
    "StableDiffusionXL",
    "sdxl",
    {"--steps", "2", "--height", "64", "--width", "64", "--negative-prompt", "blurry"}};
const Model kHalfPrecision{
    "Half", "sd15-fp16", {"--steps", "2", "--height", "64", "--width", "64", "--variant", "fp16"}};
// With the VAE's encoder too.
Model inpainting() {
  const auto input = [](const char* name) { return data(std::string("reference/inputs/") + name).string(); };
  return {"Inpainting",
          "sd15-inpaint",
          {"--steps", "3", "--height", "64", "--width", "64", "--image", input("photo.png"), "--mask-image",
           input("mask.png")}};
}

// The net's residuals go to the UNet, which may be elsewhere.
Model with_controlnet() {
  return {"ControlNet",
          "sd15",
          {"--steps", "2", "--height", "64", "--width", "64", "--control-image",
           data("reference/inputs/edges.png").string(), "--guess-mode"},
          {"--controlnet", data("reference/checkpoints/controlnet-sd15-a").string()}};
}

// A single file, with another VAE than its own.
Model single_file() {
  return {"SingleFile",
          "../single/sd15.safetensors",
          {"--steps", "2", "--height", "64", "--width", "64"},
          {"--config", data("reference/checkpoints/sd15-full-blocks").string(), "--vae",
           data("reference/checkpoints/taesd").string()}};
}

// On a device that is not the CPU, beside which messages and some of the values are.
Model on_device(Model model) {
  model.label += "OnADevice";
  model.options.insert(model.options.end(), {"--device", "sim:0"});
  return model;
}

void PrintTo(const Model& model, std::ostream* out) { *out << model.label; }

class RanksTest : public JobTest {
 protected:
  static std::vector<std::string> command(const Model& model, const std::vector<std::string>& more) {
    const std::vector<std::string> begin = {
        DIFFRACT_PROGRAM, "generate", "--model", data("reference/checkpoints/" + model.name).string(),
        "--threads",      "1"};
    return joined(joined(joined(begin, model.loading), model.options), more);
  }
  ProcessEnd in_one(const Model& model, const std::vector<std::string>& more) const {
    return RunningProcess(command(model, more), {}, folder_.path().string()).wait(kPatience);
  }
  std::vector<RunningProcess> start(int ranks, const Model& model,
                                    const std::vector<std::string>& more) const {
    return start_ranks(command(model, more), ranks, free_port(), folder_.path().string());
  }
  /// Makes the pictures with the models over so many ranks, in a folder of the name.
  std::vector<ProcessEnd> over(int ranks, const Model& model, const std::vector<std::string>& more) const {
    std::vector<ProcessEnd> ends;
    for (auto& rank : start(ranks, model, more)) ends.push_back(rank.wait(kPatience));
    return ends;
  }
  void expect_pictures(const std::string& name, const std::string& expected,
                       const std::vector<ProcessEnd>& ends) const {
    for (const auto& end : ends) EXPECT_EQ(end.exit_code, 0) << end.err;
    ASSERT_TRUE(fs::exists(folder_ / name)) << ends[0].err;
    const auto found = pictures(name);
    EXPECT_EQ(found.size(), pictures(expected).size());
    for (const auto& [file, content] : pictures(expected))
      EXPECT_TRUE(found.count(file) > 0 && found.at(file) == content) << name << "/" << file;
  }
};

class SameOverRanks : public RanksTest, public ::testing::WithParamInterface<Model> {};

TEST_P(SameOverRanks, AsInOneProcess) {
  const auto prompts = JobTest::prompts(5);
  ASSERT_EQ(in_one(GetParam(), joined(prompts, {"--output", "one/{index}.png"})).exit_code, 0);
  ASSERT_EQ(pictures("one").size(), 5u);
  for (const int ranks : {2, 3}) {
    const std::string name = fmt::format("over{}", ranks);
    const auto ends = over(ranks, GetParam(),
                           joined(prompts, {"--device-map", "ranks", "--output", name + "/{index}.png"}));
    expect_pictures(name, "one", ends);
    expect_whole_manifest(name, 5);
    for (size_t rank = 1; rank < ends.size(); ++rank) EXPECT_EQ(ends[rank].out, "");
  }
}

// Every module somewhere else than its neighbour: the most messages, skips and residuals among them.
TEST_P(SameOverRanks, WithNeighboursApart) {
  const auto prompts = JobTest::prompts(2);
  ASSERT_EQ(in_one(GetParam(), joined(prompts, {"--output", "one/{index}.png"})).exit_code, 0);
  const std::vector<std::string> planning = {
      DIFFRACT_PROGRAM, "plan", "--model",      data("reference/checkpoints/" + GetParam().name).string(),
      "--device-map",   "auto", "--max-memory", "rank:0=1GB,rank:1=1GB",
      "--json"};
  const auto plan =
      RunningProcess(joined(planning, GetParam().loading), {}, folder_.path().string()).wait(kPatience);
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  const Json planned = Json::parse(plan.out);
  Json map = {{"", "rank:0"}};
  int next = 0;
  for (const Json& block : planned["blocks"])
    map[block["name"].get<std::string>()] = fmt::format("rank:{}", next++ % 3);
  ASSERT_GT(map.size(), 40u);
  folder_.file("map.json", map.dump());
  const auto ends =
      over(3, GetParam(), joined(prompts, {"--device-map", "map.json", "--output", "apart/{index}.png"}));
  expect_pictures("apart", "one", ends);
}

INSTANTIATE_TEST_SUITE_P(All, SameOverRanks,
                         ::testing::Values(kFlux, kFluxTrueCfg, kStableDiffusion, kStableDiffusionXL,
                                           kHalfPrecision, on_device(kFluxTrueCfg),
                                           on_device(kStableDiffusion), inpainting(), on_device(inpainting()),
                                           single_file(), with_controlnet(), on_device(with_controlnet())),
                         [](const auto& test) { return test.param.label; });

TEST_F(RanksTest, LatentsAreTheBitsOfOneProcess) {
  const auto options = joined(prompts(3), {"--output-type", "latent"});
  ASSERT_EQ(in_one(kFlux, joined(options, {"--output", "one.safetensors"})).exit_code, 0);
  const auto ends = over(2, kFlux, joined(options, {"--output", "two.safetensors", "--device-map", "ranks"}));
  for (const auto& end : ends) EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_TRUE(bytes(folder_ / "two.safetensors") == bytes(folder_ / "one.safetensors"));
}

TEST_F(RanksTest, ResumesWhatIsThere) {
  auto options = joined(prompts(4), {"--device-map", "ranks", "--output", "out/{index}.png"});
  for (const auto& end : over(2, kFlux, options)) ASSERT_EQ(end.exit_code, 0) << end.err;
  const auto expected = pictures("out");
  fs::remove(folder_ / "out/2.png");
  options.emplace_back("--resume");
  const auto ends = over(2, kFlux, options);
  for (const auto& end : ends) EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(ends[0].err.find("3 pictures are there already"), std::string::npos) << ends[0].err;
  EXPECT_TRUE(pictures("out") == expected);
}

TEST_F(RanksTest, RecordsAPictureThatCannotBeMade) {
  folder_.file("p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"height\": 65}\n{\"prompt\": \"c\"}\n");
  const auto ends =
      over(2, kStableDiffusion,
           {"--prompts-file", "p.jsonl", "--device-map", "ranks", "--output", "out/{index}.png"});
  EXPECT_EQ(ends[0].exit_code, 7) << ends[0].err;
  EXPECT_EQ(ends[1].exit_code, 0) << ends[1].err;
  EXPECT_EQ(pictures("out").size(), 2u);
}

// A rank that is lost, or hangs, ends the other with its name, and in time.
class FaultTest : public RanksTest {
 protected:
  std::vector<RunningProcess> begin(const std::string& peer_timeout) const {
    auto ranks = start(2, kFlux,
                       joined(prompts(200), {"--device-map", "ranks", "--output", "out/{index}.png",
                                             "--peer-timeout", peer_timeout}));
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!fs::exists(folder_ / "out/3.png") && std::chrono::steady_clock::now() < deadline)
      if (ranks[0].wait_for(std::chrono::milliseconds(5))) break;
    EXPECT_TRUE(fs::exists(folder_ / "out/3.png")) << ranks[0].errors() << ranks[1].errors();
    return ranks;
  }
  static void expect_lost(RunningProcess& survivor, const std::string& lost) {
    const ProcessEnd end = survivor.wait(kPatience);
    EXPECT_EQ(end.exit_code, 5) << end.err;
    EXPECT_NE(end.err.find(lost), std::string::npos) << end.err;
  }
};

TEST_F(FaultTest, ARankThatIsKilled) {
  for (const size_t lost : {1, 0}) {
    auto ranks = begin("1000");  // it is noticed without any timeout
    ranks[lost].signal(SIGKILL);
    expect_lost(ranks[1 - lost], fmt::format("rank {} (host", lost));
    fs::remove_all(folder_ / "out");
  }
}

TEST_F(FaultTest, ARankThatHangs) {
  auto ranks = begin("8");
  ranks[1].signal(SIGSTOP);
  expect_lost(ranks[0], "rank 1 (host");
}

TEST_F(RanksTest, GoesOnUnderTheLauncherWhenAWorkerIsKilled) {
  const auto options = prompts(24);
  ASSERT_EQ(in_one(kFlux, joined(options, {"--output", "one/{index}.png"})).exit_code, 0);
  const std::string output = (folder_ / "out/{index}.png").string();
  const auto end =
      launched_and_killed(command(kFlux, joined(options, {"--device-map", "ranks", "--output", output})),
                          output, {"--max-restarts", "1"}, [&] { return fs::exists(folder_ / "out/3.png"); });
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(end.err.find("pictures are there already"), std::string::npos) << end.err;
  EXPECT_TRUE(pictures("out") == pictures("one"));
  expect_whole_manifest("out", 24);
}

TEST_F(RanksTest, RefusesWhatCannotWork) {
  const auto expect = [&](const std::vector<ProcessEnd>& ends, const std::string& part) {
    for (const auto& end : ends) {
      EXPECT_EQ(end.exit_code, 2) << end.err;
      EXPECT_NE(end.err.find(part), std::string::npos) << part << " is not in: " << end.err;
    }
  };
  const auto with = [&](const std::string& map) {
    folder_.file("map.json", map);
    return joined(prompts(1), {"--device-map", "map.json"});
  };
  expect({in_one(kFlux, joined(prompts(1), {"--device-map", "ranks"}))}, "--nproc-per-node 2");
  expect(over(2, kFlux, with("{\"\": \"rank:0\", \"vae\": \"rank:2\"}")), "names rank 2");
  expect(over(2, kFlux, with("{\"\": \"rank:0\", \"vae\": \"disk\"}")), "names disk beside rank:0");
  expect(over(2, kFlux, with("{\"vae\": \"rank:0\"}")), "no entry covers");
  expect(over(2, kFlux, joined(prompts(1), {"--device-map", "ranks", "--max-memory", "cpu=1GB"})),
         "rank:0=8GB");
  const auto small =
      over(2, kFlux, joined(prompts(1), {"--device-map", "auto", "--max-memory", "rank:0=50KB,rank:1=50KB"}));
  for (const auto& end : small) {
    EXPECT_EQ(end.exit_code, 4) << end.err;
    EXPECT_NE(end.err.find("over 2 ranks"), std::string::npos) << end.err;
  }
}

TEST_F(RanksTest, NoticesARankWithOtherOptions) {
  std::vector<RunningProcess> ranks;
  const auto port = free_port();
  for (int rank = 0; rank < 2; ++rank) {
    folder_.file(fmt::format("map{}.json", rank),
                 fmt::format("{{\"\": \"rank:0\", \"vae\": \"rank:{}\"}}", rank));
    ranks.emplace_back(command(kFlux, joined(prompts(1), {"--device-map", fmt::format("map{}.json", rank)})),
                       environment(rank, 2, port), folder_.path().string());
  }
  for (auto& rank : ranks) {
    const auto end = rank.wait(kPatience);
    EXPECT_EQ(end.exit_code, 2) << end.err;
    EXPECT_NE(end.err.find("another map"), std::string::npos) << end.err;
  }
}

}  // namespace
}  // namespace diffract::test
