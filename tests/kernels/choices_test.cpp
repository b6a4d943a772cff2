#include "diffract/kernels/choices.h"

#include <gtest/gtest.h>

#include <fstream>

#include "diffract/core/file.h"
#include "tests/support/temp_folder.h"

namespace diffract::kernels {
namespace {

namespace fs = std::filesystem;

constexpr int kOffers = 12;

class ChoicesTest : public testing::Test {
 protected:
  fs::path file() const { return folder_.path() / "below/choices.json"; }
  void write(const std::string& text) const {
    fs::create_directories(file().parent_path());
    std::ofstream(file()) << text;
  }
  Choices again() const { return {file(), kOffers}; }

  test::TempFolder folder_;
};

TEST_F(ChoicesTest, AreThereForTheNextProcess) {
  Choices first(file(), kOffers);
  EXPECT_FALSE(first.find("a"));
  first.keep("a", 3);
  first.keep("b \"quoted\"", Choices::kByAten);
  EXPECT_FALSE(again().find("a")) << "not saved yet";
  first.save();
  EXPECT_EQ(again().find("a"), 3);
  EXPECT_EQ(again().find("b \"quoted\""), Choices::kByAten);
}

TEST_F(ChoicesTest, OfTwoProcessesStandBesideEachOther) {
  Choices one(file(), kOffers), other(file(), kOffers);
  one.keep("a", 1);
  other.keep("b", 2);
  one.save();
  other.save();
  EXPECT_EQ(again().find("a"), 1);
  EXPECT_EQ(again().find("b"), 2);
}

TEST_F(ChoicesTest, OfADamagedFileAreNone) {
  const std::string good = R"({"format": 1, "offers": 12, "places": {"a": 3}})";
  write(good);
  ASSERT_EQ(again().find("a"), 3);
  for (const std::string text :
       {"", "{", "[]", "null", R"({"format": 1})", R"({"format": 2, "offers": 12, "places": {"a": 3}})",
        R"({"format": 1, "offers": 8, "places": {"a": 3}})", R"({"format": 1, "offers": 12, "places": [3]})",
        R"({"format": 1, "offers": 12, "places": {"a": 12}})",
        R"({"format": 1, "offers": 12, "places": {"a": -2}})",
        R"({"format": 1, "offers": 12, "places": {"a": 1e30}})",
        R"({"format": 1, "offers": 12, "places": {"a": "3"}})"}) {
    write(text);
    EXPECT_FALSE(again().find("a")) << text;
  }
  write(good + std::string(2 << 20, ' '));
  EXPECT_FALSE(again().find("a")) << "a file of 2 MiB is not ours";
}

TEST_F(ChoicesTest, ReplaceADamagedFile) {
  write("{");
  Choices choices(file(), kOffers);
  choices.keep("a", 5);
  choices.save();
  EXPECT_EQ(again().find("a"), 5);
}

TEST_F(ChoicesTest, WithoutAFileLastAsLongAsTheProcess) {
  Choices choices({}, kOffers);
  choices.keep("a", 5);
  choices.save();
  EXPECT_EQ(choices.find("a"), 5);
  // A folder that cannot be made: there is a file in its place.
  std::ofstream(folder_.path() / "below") << "x";
  Choices blocked(file(), kOffers);
  blocked.keep("a", 5);
  blocked.save();
  EXPECT_EQ(blocked.find("a"), 5);
}

TEST(CacheFolder, IsWhereTheVariablesSay) {
  ::setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(cache_folder(), "/somewhere/diffract");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", "/home/one", 1);
  EXPECT_EQ(cache_folder(), "/home/one/.cache/diffract");
  ::unsetenv("HOME");
  EXPECT_EQ(cache_folder(), "");
}

}  // namespace
}  // namespace diffract::kernels
