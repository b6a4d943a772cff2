#include "diffract/jobs/manifest.h"

#include <gtest/gtest.h>

#include <random>

#include "diffract/core/file.h"
#include "diffract/core/log.h"
#include "tests/support/temp_folder.h"

namespace diffract::jobs {
namespace {

ManifestEntry entry(size_t index, const std::string& file = "a.png") {
  return {.index = index,
          .seed = 18'446'744'073'709'551'615u,
          .prompt = "a \"dog\"\n你好",
          .parameters = R"({"steps":2,"guidance_scale":7.5})",
          .rank = 3,
          .threads = 2,
          .file = file,
          .sha256 = "00ff"};
}

TEST(Manifest, GivesBackWhatWasWritten) {
  const test::TempFolder folder;
  Manifest manifest(folder / "manifest.jsonl");
  EXPECT_TRUE(manifest.load().empty());
  manifest.append(entry(7));
  manifest.append(
      {.index = 8, .prompt = "\xff", .parameters = "{}", .error_kind = "memory", .message = "full"});
  const auto entries = manifest.load();
  ASSERT_EQ(entries.at(7).size(), 1u);
  EXPECT_EQ(entries.at(7)[0].line(), entry(7).line());
  EXPECT_EQ(entries.at(7)[0].seed, entry(7).seed);
  EXPECT_TRUE(entries.at(8)[0].failed());
  EXPECT_EQ(entries.at(8)[0].message, "full");
}

TEST(Manifest, LeavesOutDamagedLines) {
  const test::TempFolder folder;
  const std::string sound = entry(1).line() + "\n";
  for (const std::string bad :
       {"{\"index\": 1", "[]", "null", "{}", "{\"index\": -1}", "\xff\xfe", "{\"index\": 1e300}",
        R"({"index":2,"seed":1,"prompt":"a","rank":0,"parameters":{},"file":"","sha256":""})",
        R"({"index":2,"seed":1,"prompt":"a","rank":0,"parameters":5,"file":"a","sha256":""})"}) {
    const Manifest manifest(folder.file("m", sound + bad + "\n" + entry(4).line()));
    const auto entries = manifest.load();
    EXPECT_EQ(entries.size(), 2u) << bad;
    EXPECT_EQ(entries.count(4), 1u) << bad;
  }
}

TEST(Manifest, ReadsWhateverIsThere) {
  const test::TempFolder folder;
  log::set_level(log::Level::error);  // not 300 warnings
  std::string text;
  for (size_t i = 0; i < 20; ++i) text += entry(i).line() + "\n";
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = text;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    damaged.resize(random() % (damaged.size() + 1));
    const Manifest manifest(folder.file("m", damaged));
    for (const auto& [index, found] : manifest.load()) EXPECT_GE(found.size(), 1u);
  }
  log::set_level(log::Level::info);
}

TEST(Manifest, ForgetsPicturesThatAreMadeAnew) {
  const test::TempFolder folder;
  Manifest manifest(folder.file("m", entry(1).line() + "\ntorn"));
  manifest.append(entry(2));
  manifest.append(entry(2, "of another job.png"));
  manifest.append({.index = 3, .parameters = "{}", .error_kind = "memory"});
  manifest.forget([](const ManifestEntry& e) { return e.index == 2 && e.file == "a.png"; });
  EXPECT_EQ(load_text(manifest.file(), 4096),
            entry(1).line() + "\n" + entry(2, "of another job.png").line() + "\n");
}

}  // namespace
}  // namespace diffract::jobs
