// `generate` as one job of several processes, started by hand with torchrun's environment.
#include <fcntl.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "diffract/core/file_descriptor.h"
#include "diffract/io/png.h"
#include "diffract/io/safetensors.h"
#include "tests/cli/job_fixture.h"
#include "tests/support/images.h"

namespace diffract::test {
namespace {

namespace fs = std::filesystem;

TEST_F(JobTest, MakesTheSamePicturesOnAnyNumberOfProcesses) {
  auto options = prompts(16);
  options.insert(options.end(), {"--batch-size", "3", "--seed", "7"});
  ASSERT_EQ(alone(options, "one/{index}.png").exit_code, 0);
  const auto expected = pictures("one");
  ASSERT_EQ(expected.size(), 16u);
  for (const char* schedule : {"static", "dynamic"})
    for (const int world_size : {1, 2, 3, 8}) {
      const std::string name = fmt::format("{}{}", schedule, world_size);
      auto these = options;
      these.insert(these.end(), {"--schedule", schedule, "--json"});
      const auto results = together(world_size, these, name + "/{index}.png");
      for (const auto& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(pictures(name), expected) << name;
      expect_whole_manifest(name, 16);
      for (const Json& line : manifest(name)) EXPECT_EQ(line["threads"], 1) << line;
      const Json summary = Json::parse(results[0].out);
      ASSERT_EQ(summary["images"].size(), 16u);
      EXPECT_EQ(summary["num_processes"], world_size);
      for (size_t i = 0; i < 16; ++i) EXPECT_EQ(summary["images"][i]["index"], i);
      for (size_t rank = 1; rank < results.size(); ++rank) {
        EXPECT_EQ(results[rank].out, "");
        EXPECT_EQ(results[rank].err.find("images"), std::string::npos) << results[rank].err;
      }
    }
}

// How many are computed at once depends on measured times, and with it the last bits.
TEST_F(JobTest, MeasuresHowManyToComputeAtOnce) {
  const auto options = prompts(40);
  ASSERT_EQ(alone(options, "one/{index}.png").exit_code, 0);
  auto measured = options;
  measured.insert(measured.end(), {"--batch-size", "auto", "--json"});
  for (const int world_size : {1, 2}) {
    const std::string name = fmt::format("auto{}", world_size), output = name + "/{index}.png";
    const auto results = together(world_size, measured, output);
    for (const auto& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(results[0].err.find("batches of 1: "), std::string::npos) << results[0].err;
    expect_whole_manifest(name, 40);
    for (size_t i = 0; i < 40; ++i) {
      const auto picture = [&](const std::string& of) {
        return io::load_png(folder_ / fmt::format("{}/{}.png", of, i)).image;
      };
      EXPECT_LE(largest_pixel_difference(picture(name), picture("one")), 1) << i;
    }
    auto again = measured;
    again.emplace_back("--resume");
    for (const auto& result : together(world_size, again, output))
      EXPECT_EQ(result.exit_code, 0) << result.err;
    expect_whole_manifest(name, 40);
  }
  auto over_ranks = prompts(2);
  over_ranks.insert(over_ranks.end(), {"--batch-size", "auto", "--device-map", "ranks"});
  for (const auto& result : together(2, over_ranks, "ranks/{index}.png")) {
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find("--batch-size auto"), std::string::npos) << result.err;
  }
}

TEST_F(JobTest, CostsNothingWhereThereIsNothingToDo) {
  const auto results = together(3, {"--prompt", "a dog", "--schedule", "static"}, "out/{index}.png");
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(pictures("out").size(), 1u);
  EXPECT_NE(results[0].err.find("weights"), std::string::npos)
      << results[0].err;  // said when a model is loaded
  EXPECT_EQ(results[1].err, "");
  EXPECT_EQ(results[2].err, "");
}

// FLUX's weights come when their stage begins: what has no room for one picture has none for the others.
TEST_F(JobTest, EndsWhenTheModelDoesNotFit) {
  const auto end =
      RunningProcess(
          {DIFFRACT_PROGRAM, "generate", "--model", test::data("reference/checkpoints/flux-dev").string(),
           "--device", "sim", "--steps", "1", "--prompt", "a", "--prompt", "b", "--output", "{index}.png"},
          {{"DIFFRACT_SIM_MEMORY", "100KB"}}, folder_.path().string())
          .wait();
  EXPECT_EQ(end.exit_code, 4) << end.err;
  EXPECT_EQ(test::count(end.err, "out of device memory"), 1u) << end.err;
}

TEST_F(JobTest, RecordsAFailedPictureAndGoesOn) {
  folder_.file("p.jsonl",
               "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"height\": 65}\n{\"prompt\": \"c\"}\n"
               "{\"prompt\": \"d\", \"eta\": 7}\n{\"prompt\": \"e\"}\n");
  for (const int world_size : {1, 2}) {
    const std::string name = fmt::format("out{}", world_size);
    const auto results = together(world_size, {"--prompts-file", "p.jsonl", "--json"}, name + "/{index}.png");
    EXPECT_EQ(results[0].exit_code, 7) << results[0].err;  // of the main process alone, which ends last
    EXPECT_NE(results[0].err.find("2 of 5 pictures failed, the first is picture 1"), std::string::npos)
        << results[0].err;
    for (size_t rank = 1; rank < results.size(); ++rank) EXPECT_EQ(results[rank].exit_code, 0);
    EXPECT_EQ(pictures(name).size(), 3u);
    const Json summary = Json::parse(results[0].out);
    EXPECT_EQ(summary["images"].size(), 3u);
    ASSERT_EQ(summary["failed"].size(), 2u);
    EXPECT_EQ(summary["failed"][0]["index"], 1);
    EXPECT_EQ(summary["failed"][0]["error"]["kind"], "usage");
    size_t failed = 0;
    for (const Json& line : manifest(name)) failed += line.contains("error") ? 1 : 0;
    EXPECT_EQ(failed, 2u);
  }
}

TEST_F(JobTest, FailsAsItsPicturesDoWhenNoneCanBeMade) {
  auto options = prompts(3);
  options.insert(options.end(), {"--eta", "7"});
  const auto results = together(2, options, "out/{index}.png");
  EXPECT_EQ(results[0].exit_code, 2) << results[0].err;
  EXPECT_TRUE(pictures("out").empty());
}

TEST_F(JobTest, FindsPicturesThatOtherRanksMade) {
  const auto options = prompts(6);
  for (const auto& result : together(3, options, "out/rank{rank}_{index}.png"))
    ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto before = pictures("out");
  ASSERT_EQ(before.size(), 6u);
  auto again = options;
  again.insert(again.end(), {"--resume", "--json"});
  const auto results = together(2, again, "out/rank{rank}_{index}.png");
  EXPECT_EQ(results[0].exit_code, 0) << results[0].err;
  EXPECT_EQ(pictures("out"), before);
  EXPECT_NE(results[0].err.find("6 pictures are there already"), std::string::npos) << results[0].err;
  const Json said = Json::parse(results[0].out);
  for (const Json& image : said["images"])
    EXPECT_EQ(before.count(fs::path(image["file"].get<std::string>()).filename().string()), 1u) << image;
}

TEST_F(JobTest, IsToldAtOnceOfARankThatCannotBegin) {
  const uint16_t port = free_port();
  const auto begin = std::chrono::steady_clock::now();
  RunningProcess main(command(prompts(4), "out/{index}.png"), environment(0, 2, port),
                      folder_.path().string());
  folder_.file("elsewhere/out", "a file where the other has a folder");
  RunningProcess other(command(prompts(4), "out/{index}.png"), environment(1, 2, port),
                       (folder_ / "elsewhere").string());
  EXPECT_EQ(other.wait().exit_code, 6);
  const auto result = main.wait();
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_NE(result.err.find("rank 1 of 2: "), std::string::npos) << result.err;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience);
}

TEST_F(JobTest, RefusesASecondProcessWithARank) {
  const uint16_t port = free_port();
  std::vector<RunningProcess> ranks;
  // Some seconds of work: one that comes to a job that is over is not refused.
  for (const int rank : {1, 1, 0})
    ranks.emplace_back(command(prompts(200), "out/{index}.png"), environment(rank, 2, port),
                       folder_.path().string());
  std::vector<ProcessEnd> ends;
  for (auto& process : ranks) ends.push_back(process.wait());
  EXPECT_EQ(ends[2].exit_code, 0) << ends[2].err;
  EXPECT_EQ(pictures("out").size(), 200u);
  const auto& refused = ends[0].exit_code != 0 ? ends[0] : ends[1];
  EXPECT_EQ(ends[0].exit_code + ends[1].exit_code, 2) << ends[0].err << ends[1].err;
  EXPECT_NE(refused.err.find("has this rank already"), std::string::npos) << refused.err;
}

TEST_F(JobTest, GivesEachProcessAFileOfItsLatents) {
  auto options = prompts(5);
  options.insert(options.end(), {"--output-type", "latent"});
  ASSERT_EQ(alone(options, "all.safetensors").exit_code, 0);
  for (const auto& result : together(2, options, "all.safetensors")) {
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find("{rank}"), std::string::npos) << result.err;
  }
  for (const auto& result : together(2, options, "part{rank}.safetensors"))
    EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto latents = [&](const std::string& name) {
    const auto file = io::SafetensorsFile::open(folder_ / name);
    const auto view = file->bytes(*file->find("latents"));
    return std::string(reinterpret_cast<const char*>(view.data()), view.size());
  };
  EXPECT_EQ(latents("part0.safetensors") + latents("part1.safetensors"), latents("all.safetensors"));
}

// What --resume meets: damage to the manifest, to pictures, and leftovers of killed processes.
TEST_F(JobTest, ResumesAfterDamage) {
  auto options = prompts(8);
  ASSERT_EQ(alone(options, "out/{index}.png").exit_code, 0);
  options.emplace_back("--resume");
  const auto expected = pictures("out");
  const fs::path lines = folder_ / "out/manifest.jsonl";
  const std::string sound = bytes(lines);
  const auto write = [&](const std::string& text) { folder_.file("out/manifest.jsonl", text); };
  const std::vector<std::function<void()>> damages = {
      [&] {
        write(
            "{\"index\":0,\"prompt\":\"prompt number 0\",\"seed\":0,\"parameters\":{},\"rank\":0,\"file\":"
            "\"../../etc/passwd\",\"sha256\":\"\"}\n" +
            sound.substr(sound.find('\n') + 1));
      },
      [&] { write(sound.substr(0, sound.size() / 2)); },
      [&] { write(""); },
      [&] { fs::remove(lines); },
      [&] { write(std::string(5000, '\xff')); },
      [&] { write(sound + sound + "{\"index\": 3"); },
      [&] { fs::remove(folder_ / "out/3.png"); },
      [&] { folder_.file("out/4.png", expected.at("4.png").substr(0, 500)); },
      [&] {
        std::string flipped = expected.at("5.png");
        flipped[flipped.size() - 100] ^= 1;
        folder_.file("out/5.png", flipped);
      },
      [&] { folder_.file("out/.6.png.4711.0.part", "half a picture"); }};
  for (size_t d = 0; d < damages.size(); ++d) {
    damages[d]();
    const auto result = alone(options, "out/{index}.png");
    EXPECT_EQ(result.exit_code, 0) << d << ": " << result.err;
    EXPECT_EQ(pictures("out"), expected) << d;
    if (d > 0) expect_whole_manifest("out", 8);  // the first damage names a file that is none of the job's
    EXPECT_NE(result.err.find(d >= 6 && d <= 8 ? "7 pictures are there" : "8 pictures are there"),
              std::string::npos)
        << d << ": " << result.err;
  }
}

TEST_F(JobTest, BeginsAnewUnlessToldToResume) {
  const auto options = prompts(3);
  ASSERT_EQ(alone(options, "out/{index}.png").exit_code, 0);
  ASSERT_EQ(alone({"--prompt", "x", "--prompt", "y"}, "out/other{index}.png").exit_code, 0);
  ASSERT_EQ(alone(options, "out/{index}.png").exit_code, 0);
  EXPECT_EQ(manifest("out").size(), 5u);  // another job's lines in the same folder stay
  auto seeded = options;
  seeded.insert(seeded.end(), {"--resume", "--seed", "9"});
  ASSERT_EQ(alone(seeded, "out/{index}.png").exit_code, 0);
  EXPECT_EQ(manifest("out").size(), 5u);
  EXPECT_EQ(manifest("out").back()["parameters"]["seed"], 11);
}

// A disk of a few pages that grows: no half picture, the exit code, and --resume goes on.
TEST_F(JobTest, EndsCleanlyOnAFullDiskAndGoesOnWhenThereIsRoom) {
  const auto options = prompts(16);
  ASSERT_EQ(alone(options, "one/{index}.png").exit_code, 0);
  const auto expected = pictures("one");
  const fs::path disk = folder_ / "disk";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=36k") != 0)
    GTEST_SKIP() << "mounting a small disk needs root (" << std::strerror(errno)
                 << "); a full disk was not tested";
  struct Unmount {
    fs::path disk;
    ~Unmount() { ::umount2(disk.c_str(), MNT_DETACH); }
  } unmount{disk};
  auto resumed = options;
  resumed.emplace_back("--resume");
  bool finished = false;
  int full = 0;
  for (int kib = 36; kib <= 2000 && !finished; kib += 36) {
    ASSERT_EQ(::mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, fmt::format("size={}k", kib).c_str()), 0);
    const auto results = together(2, resumed, "disk/{index}.png");
    for (const auto& [name, content] : pictures("disk"))
      EXPECT_TRUE(expected.count(name) > 0 && content == expected.at(name))
          << name << " at " << kib << " KiB";
    finished = results[0].exit_code == 0 && results[1].exit_code == 0;
    if (finished) continue;
    ++full;
    // The one that met the full disk says so; the other may have lost it as a peer.
    EXPECT_TRUE(results[0].exit_code == 6 || results[1].exit_code == 6) << results[0].err << results[1].err;
    EXPECT_NE((results[0].err + results[1].err).find("No space left on device"), std::string::npos);
  }
  EXPECT_TRUE(finished);
  EXPECT_GE(full, 2);
  EXPECT_EQ(pictures("disk"), expected);
  expect_whole_manifest("disk", 16);
}

// The healthy rank, which the launcher ends, says nothing: what follows the summary is the summary.
TEST_F(JobTest, EndsWithTheLaunchersSummaryWhenAWorkerIsKilled) {
  const std::string output = (folder_ / "out/{index}.png").string();
  const auto result = launched_and_killed(command(prompts(200), output), output, {},
                                          [&] { return fs::exists(folder_ / "out/3.png"); });
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.err;
  EXPECT_EQ(result.err.find("stopped by a signal"), std::string::npos) << result.err;
  const size_t summary = result.err.find("diffract: error: launch: rank ");
  ASSERT_NE(summary, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("\ndiffract: ", summary), std::string::npos) << result.err;
}

TEST_F(JobTest, GoesOnUnderTheLauncherWhenAWorkerIsKilled) {
  const auto options = prompts(32);
  ASSERT_EQ(alone(options, "one/{index}.png").exit_code, 0);
  const std::string output = (folder_ / "out/{index}.png").string();
  const auto lines = folder_ / "out/manifest.jsonl";
  const auto result = launched_and_killed(command(options, output), output, {"--max-restarts", "1"},
                                          [&] { return fs::exists(lines) && bytes(lines).size() >= 2000; });
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("was killed by SIGKILL"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("stopped by a signal"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("pictures are there already"), std::string::npos) << result.err;
  EXPECT_EQ(pictures("out"), pictures("one"));
  expect_whole_manifest("out", 32);
}

// Who saves a picture waits up to two seconds for the manifest's lock, which this test has.
TEST_F(JobTest, EncodesTheNextPromptWhileAPictureIsSaved) {
  fs::create_directories(folder_ / "out");
  const FileDescriptor manifest(::open((folder_ / "out/manifest.jsonl").c_str(), O_RDWR | O_CREAT, 0644));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  ASSERT_EQ(::fcntl(manifest.get(), F_OFD_SETLK, &whole), 0);
  const auto end = RunningProcess(command(prompts(3), "out/{index}.png"), {{"DIFFRACT_TRACE", "trace.json"}},
                                  folder_.path().string())
                       .wait(kPatience);
  ASSERT_EQ(end.exit_code, 0) << end.err;
  std::vector<int64_t> encoded;              // when it began, the negative prompt once
  std::map<std::string, int64_t> save_ends;  // by picture
  for (const Json& event : parse_json(bytes(folder_ / "trace.json"), "trace")) {
    const std::string name = event["name"];
    if (name == "encode text_encoder") encoded.push_back(event["ts"]);
    if (event["cat"] == "save") save_ends[name] = event["ts"].get<int64_t>() + event["dur"].get<int64_t>();
  }
  std::sort(encoded.begin(), encoded.end());
  ASSERT_EQ(encoded.size(), 4u);
  ASSERT_EQ(save_ends.size(), 3u);
  EXPECT_LT(encoded[2], save_ends.at("picture 0"));
  EXPECT_LT(encoded[3], save_ends.at("picture 1"));
  EXPECT_LT(save_ends.at("picture 0"), save_ends.at("picture 1"));
  expect_whole_manifest("out", 3);
}

}  // namespace
}  // namespace diffract::test
