// Which files of a folder are a job's, by their names alone.
#include "diffract/jobs/job_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace diffract::jobs {
namespace {

namespace fs = std::filesystem;

JobImage image(size_t index) { return {.index = index, .seed = 5, .prompt = "a", .negative_prompt = {}}; }

TEST(RankedNames, FindsTheRanksThatWroteAPicture) {
  const test::TempFolder folder;
  const auto in = [&](const std::string& name) { return (folder / name).string(); };
  for (const char* name :
       {"rank3_7.png", "rank12_7.png", "rank99_7.png", "rank3_8.png", "37.png", "rank03_7.png"})
    folder.file(name, "");
  RankedNames plain([&](const JobImage& i, int64_t) { return in(fmt::format("{}.png", i.index)); }, 50);
  EXPECT_EQ(plain.ranks_of(image(37)), (std::vector<int64_t>{0}));
  RankedNames names(
      [&](const JobImage& i, int64_t rank) { return in(fmt::format("rank{}_{}.png", rank, i.index)); }, 50);
  EXPECT_EQ(names.ranks_of(image(7)), (std::vector<int64_t>{3, 12}));  // there is no rank 99
  EXPECT_EQ(names.ranks_of(image(8)), (std::vector<int64_t>{3}));
  EXPECT_TRUE(names.ranks_of(image(3)).empty());
  RankedNames close(
      [&](const JobImage& i, int64_t rank) { return in(fmt::format("{}{}.png", rank, i.index)); }, 50);
  EXPECT_EQ(close.ranks_of(image(7)), (std::vector<int64_t>{3}));
  RankedNames folders(
      [&](const JobImage& i, int64_t rank) { return in(fmt::format("{}/{}.png", rank, i.index)); }, 2);
  EXPECT_FALSE(folders.readable());
  EXPECT_EQ(folders.ranks_of(image(7)), (std::vector<int64_t>{0, 1}));
}

TEST(JobFolder, RemovesItsOwnLeftoversWithoutTryingAllNames) {
  const test::TempFolder folder;
  constexpr int64_t kWorld = 1000;
  constexpr size_t kImages = 100;
  size_t named = 0;
  std::vector<JobBatch> batches(1);
  for (size_t i = 0; i < kImages; ++i) batches[0].images.push_back(image(i));
  JobFolder job({.file =
                     [&](const JobImage& i, int64_t rank) {
                       ++named;
                       return (folder / fmt::format("{}_{}.png", rank, i.index)).string();
                     },
                 .parameters = [](const JobBatch&, const JobImage&) { return Json::object(); },
                 .folder = folder.path(),
                 .rank = 0,
                 .world_size = kWorld});
  const auto own = folder.file(".999_7.png.4711.0.part", ""),
             other = folder.file(".999_777.png.4711.0.part", ""),
             beyond = folder.file(".1000_7.png.4711.0.part", ""),
             // Another host may be writing it; the manifest removes it under its lock.
      manifest = folder.file(".manifest.jsonl.4711.0.part", "");
  job.remove_leftovers(batches);
  EXPECT_FALSE(fs::exists(own));
  for (const auto& stays : {other, beyond, manifest}) EXPECT_TRUE(fs::exists(stays)) << stays;
  EXPECT_LT(named, 10 * kImages);
}

}  // namespace
}  // namespace diffract::jobs
