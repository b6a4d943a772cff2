#include "diffract/placement/max_memory.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"

namespace diffract::placement {
namespace {

TEST(ConvertFileSizeToInt, ReadsSizesAsAccelerateDoes) {
  const std::vector<std::pair<const char*, int64_t>> sizes = {{"16GB", 16'000'000'000},
                                                              {"16gB", 16'000'000'000},
                                                              {"16Gb", 2'000'000'000},
                                                              {"16gb", 2'000'000'000},
                                                              {"16GiB", 17179869184},
                                                              {"16gib", 17179869184},
                                                              {"1kb", 125},
                                                              {"1.5MB", 1'500'000},
                                                              {"0GB", 0},
                                                              {" 1GB", 1'000'000'000},
                                                              {"16 GB", 16'000'000'000},
                                                              {"1e2MB", 100'000'000},
                                                              {"1_000KB", 1'000'000},
                                                              {"+2KB", 2000},
                                                              {"1KiB", 1024},
                                                              {".5KB", 500}};
  for (const auto& [text, bytes] : sizes) EXPECT_EQ(convert_file_size_to_int(text), bytes) << text;
}

TEST(ConvertFileSizeToInt, RefusesOtherTexts) {
  for (const char* text : {"16", "16G", "1TB", "-1GB", "nanGB", "infGB", "", "GB", "1__0KB", "_1KB", "1_KB",
                           "0x1GB", "1e30GB", "+-1GB", "1,5GB", "16GB "})
    EXPECT_THROW(convert_file_size_to_int(text), UsageError) << text;
}

TEST(MaxMemory, ReadsTheOption) {
  const MaxMemory memory = MaxMemory::parse("1=16GB,cpu=30GiB,0=1000,disk=5GB");
  EXPECT_EQ(memory, (MaxMemory{{0, 1000}, {1, "16GB"}, {"cpu", "30GiB"}, {"disk", "5GB"}}));
  EXPECT_EQ(memory.to_json().dump(), R"({"0":1000,"1":16000000000,"cpu":32212254720,"disk":5000000000})");
}

TEST(MaxMemory, ReadsTheOptionHoweverItIsSpelled) {
  const MaxMemory memory{{0, "16GB"}, {"cpu", "30GB"}};
  for (const char* text : {"0=16GB, cpu=30GB", " 0=16GB ,cpu = 30GB ,", R"({"0": "16GB", "cpu": "30GB"})",
                           R"( {"cpu": 30000000000, "0": "16GB"})"})
    EXPECT_EQ(MaxMemory::parse(text), memory) << text;
}

TEST(MaxMemory, SaysThatASmallBMeansBits) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(MaxMemory::parse("0=24gb"), (MaxMemory{{0, 3'000'000'000}}));
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("\"24gb\" is 3.00 GB: a small b means bits"), std::string::npos) << said;
}

TEST(MaxMemory, ReadsJson) {
  EXPECT_EQ(MaxMemory::from_json(Json::parse(R"({"cpu": "1KB", "0": 5})"), "x"),
            (MaxMemory{{0, 5}, {"cpu", 1000}}));
  for (const char* text : {"[]", R"({"0": 1.5})", R"({"0": -1})", R"({"gpu": 1})", R"({"0": true})",
                           R"({"0": 18446744073709551615})"})
    EXPECT_THROW(MaxMemory::from_json(Json::parse(text), "x"), UsageError) << text;
}

TEST(MaxMemory, RefusesWhatItCannotRead) {
  for (const char* text :
       {"", "0", "0=", "=16GB", "0=16GB,,cpu=1GB", ",", "{", "{0: 5}", R"({"0": "16GB")", "cuda:x=1",
        "-1=16GB", "0=16GB,0=8GB", "gpu=1GB", "0=-5", "0=99999999999999999999", "70000=1"})
    EXPECT_THROW(MaxMemory::parse(text), UsageError) << text;
}

}  // namespace
}  // namespace diffract::placement
