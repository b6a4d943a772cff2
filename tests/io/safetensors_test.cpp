#include "diffract/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "diffract/core/error.h"
#include "diffract/io/safetensors_writer.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(data_bytes, '\0');
}

std::string tensor(const std::string& dtype = "F32", const std::string& shape = "[1]",
                   const std::string& offsets = "[0,4]") {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":)" + tensor(dtype, shape, offsets) + "}";
}

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), "x.safetensors");
}

bool accepted(const std::string& file) {
  try {
    parse(file);
    return true;
  } catch (const CheckpointError&) {
    return false;
  }
}

std::string repeated(const std::string& text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

struct Case {
  const char* name;
  std::string file;
  bool accepted;
};

const std::string kT = tensor();
const std::string kA = R"({"a":)" + kT + "}";

// What the reference parser (PyPI safetensors 0.8.0) says of odd files; where we are stricter the name says
// so.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"one tensor", file_of(kA, 4), true},
      {"empty file", "", false},
      {"7 bytes", std::string(7, '\0'), false},
      {"no header", std::string(8, '\0'), false},
      {"no tensors", file_of("{}", 0), true},
      {"no tensors but data", file_of("{}", 4), false},
      {"header longer than the file", std::string("d\0\0\0\0\0\0\0{}", 10), false},
      {"header over 100 MB", std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10), false},
      {"header of 2^64-1", std::string(8, '\xff') + "{}", false},
      {"leading space", file_of(" " + kA, 4), true},
      {"leading newline", file_of("\n" + kA, 4), true},
      {"trailing spaces", file_of(kA + "   ", 4), true},
      {"trailing NUL", file_of(kA + std::string(2, '\0'), 4), false},
      {"byte order mark", file_of("\xef\xbb\xbf" + kA, 4), false},
      {"name not UTF-8", file_of("{\"\xff\":" + kT + "}", 4), false},
      {"lone surrogate in a name", file_of(R"({"\ud800":)" + kT + "}", 4), false},
      {"NUL in a name", file_of(R"({"a\u0000b":)" + kT + "}", 4), true},
      {"empty name", file_of(R"({"":)" + kT + "}", 4), true},
      {"a name twice (stricter)", file_of(R"({"a":)" + kT + R"(,"a":)" + tensor("I32") + "}", 4), false},
      {"a name twice, one behind the other",
       file_of(R"({"a":)" + kT + R"(,"a":)" + tensor("F32", "[1]", "[4,8]") + "}", 8), false},
      {"__metadata__ twice",
       file_of(R"({"__metadata__":{"x":"1"},"__metadata__":{"x":"2"},"a":)" + kT + "}", 4), false},
      {"dtype twice", file_of(R"({"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}})", 4),
       false},
      {"a metadata key twice (stricter)", file_of(R"({"__metadata__":{"x":"1","x":"2"},"a":)" + kT + "}", 4),
       false},
      {"metadata null", file_of(R"({"__metadata__":null,"a":)" + kT + "}", 4), true},
      {"metadata a number", file_of(R"({"__metadata__":{"x":1},"a":)" + kT + "}", 4), false},
      {"metadata nested", file_of(R"({"__metadata__":{"x":{"y":"z"}},"a":)" + kT + "}", 4), false},
      {"metadata a list", file_of(R"({"__metadata__":[],"a":)" + kT + "}", 4), false},
      {"unknown field", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"zzz":1}})", 4),
       true},
      {"unknown field, nested",
       file_of(R"({"a":{"q":{"r":[1,{"s":null}]},"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
       true},
      {"no dtype", file_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), false},
      {"no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), false},
      {"no offsets", file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4), false},
      {"unknown dtype", file_of(one("F99", "[1]", "[0,4]"), 4), false},
      {"dtype in small letters", file_of(one("f32", "[1]", "[0,4]"), 4), false},
      {"negative shape", file_of(one("F32", "[-1]", "[0,4]"), 4), false},
      {"negative offset", file_of(one("F32", "[1]", "[-4,0]"), 4), false},
      {"fractional offset", file_of(one("F32", "[1]", "[0,4.0]"), 4), false},
      {"shape with an exponent", file_of(one("F32", "[1e0]", "[0,4]"), 4), false},
      {"offsets as strings", file_of(one("F32", "[1]", R"(["0","4"])"), 4), false},
      {"three offsets", file_of(one("F32", "[1]", "[0,4,8]"), 4), false},
      {"one offset", file_of(one("F32", "[1]", "[0]"), 4), false},
      {"offset 2^64", file_of(one("F32", "[1]", "[0,18446744073709551616]"), 4), false},
      {"shape too large", file_of(one("F32", "[8589934592,8589934592]", "[0,16]"), 16), false},
      {"shape too large, no bytes", file_of(one("F32", "[9223372036854775808,2]", "[0,0]"), 0), false},
      {"large shape times zero", file_of(one("F32", "[0,9223372036854775808,4]", "[0,0]"), 0), true},
      {"no elements", file_of(one("F32", "[2,0]", "[0,0]"), 0), true},
      {"scalar", file_of(one("F32", "[]", "[0,4]"), 4), true},
      {"hole", file_of(R"({"a":)" + kT + R"(,"b":)" + tensor("F32", "[1]", "[8,12]") + "}", 12), false},
      {"overlap", file_of(R"({"a":)" + kT + R"(,"b":)" + tensor("F32", "[1]", "[2,6]") + "}", 6), false},
      {"same bytes twice", file_of(R"({"a":)" + kT + R"(,"b":)" + kT + "}", 4), false},
      {"offsets turned around", file_of(one("F32", "[1]", "[4,0]"), 4), false},
      {"first offset not 0", file_of(one("F32", "[1]", "[4,8]"), 8), false},
      {"too few bytes for the shape", file_of(one("F32", "[2]", "[0,4]"), 4), false},
      {"data behind the last tensor", file_of(kA, 5), false},
      {"data cut short", file_of(kA, 3), false},
      {"not in order of names",
       file_of(R"({"b":)" + tensor("F32", "[1]", "[4,8]") + R"(,"a":)" + kT + "}", 8), true},
      {"header a list", file_of("[]", 0), false},
      {"header null", file_of("null", 0), false},
      {"header a string", file_of("\"x\"", 0), false},
      {"header a number", file_of("5", 0), false},
      {"two documents", file_of("{}{}", 0), false},
      {"comment", file_of("{/*x*/}", 0), false},
      {"trailing comma", file_of(R"({"a":)" + kT + ",}", 4), false},
      {"NaN", file_of(R"({"a":NaN})", 0), false},
      {"tensor null", file_of(R"({"a":null})", 0), false},
      {"tensor a list", file_of(R"({"a":[]})", 0), false},
      {"100 dimensions", file_of(one("F32", "[1" + repeated(",1", 99) + "]", "[0,4]"), 4), true},
      {"100,000 dimensions", file_of(one("F32", "[1" + repeated(",1", 99999) + "]", "[0,4]"), 4), true},
      {"metadata 127 deep",
       file_of(R"({"__metadata__":)" + repeated(R"({"a":)", 127) + "\"x\"" + repeated("}", 127) + "}", 0),
       false},
      {"unknown field a million deep",
       file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"q":)" + repeated("[", 1000000) +
                   repeated("]", 1000000) + "}}",
               4),
       false},
      {"BOOL", file_of(one("BOOL", "[4]", "[0,4]"), 4), true},
      {"F8_E4M3", file_of(one("F8_E4M3", "[4]", "[0,4]"), 4), true},
      {"F8_E5M2", file_of(one("F8_E5M2", "[4]", "[0,4]"), 4), true},
      {"F8_E8M0", file_of(one("F8_E8M0", "[4]", "[0,4]"), 4), true},
      {"F4", file_of(one("F4", "[8]", "[0,4]"), 4), true},
      {"F4, half a byte over", file_of(one("F4", "[7]", "[0,4]"), 4), false},
      {"F6_E2M3", file_of(one("F6_E2M3", "[4]", "[0,3]"), 3), true},
      {"C64", file_of(one("C64", "[1]", "[0,8]"), 8), true},
      {"U64", file_of(one("U64", "[1]", "[0,8]"), 8), true},
      {"BF16", file_of(one("BF16", "[2]", "[0,4]"), 4), true},
  };
  return all;
}

TEST(SafetensorsHeader, JudgesOddFilesAsTheReferenceParserDoes) {
  for (const auto& c : cases()) EXPECT_EQ(accepted(c.file), c.accepted) << c.name;
}

TEST(SafetensorsHeader, GivesTensorsInTheOrderOfTheirData) {
  const auto header = parse(file_of(
      R"({"b":)" + tensor("F16", "[2]", "[4,8]") + R"(,"a":)" + kT + R"(,"__metadata__":{"format":"pt"}})",
      8));
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].elements(), 2u);
  EXPECT_EQ(header.metadata.at("format"), "pt");
}

TEST(SafetensorsHeader, NamesFileAndTensor) {
  const auto message = test::error_of<CheckpointError>([] { parse(file_of(one("F32", "[2]", "[0,4]"), 4)); });
  EXPECT_NE(message.find("x.safetensors"), std::string::npos);
  EXPECT_NE(message.find("\"a\""), std::string::npos) << message;
}

TEST(SafetensorsHeader, SurvivesEveryBitFlipAndEveryLength) {
  const std::string sound = file_of(
      R"({"__metadata__":{"k":"v"},"a":)" + kT + R"(,"b":)" + tensor("F16", "[2,1]", "[4,8]") + "}", 8);
  for (size_t length = 0; length < sound.size(); ++length)
    EXPECT_FALSE(accepted(sound.substr(0, length))) << length;
  for (size_t byte = 0; byte < sound.size(); ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = sound;
      flipped[byte] = static_cast<char>(flipped[byte] ^ (1 << bit));
      accepted(flipped);  // either way, without a crash
    }
}

TEST(SafetensorsHeader, ReadsThreeHundredThousandTensors) {
  std::string header = "{";
  constexpr uint64_t kCount = 300'000;
  for (uint64_t i = 0; i < kCount; ++i)
    header += fmt::format("{}\"t{:07}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[{},{}]}}",
                          i ? "," : "", i, 4 * i, 4 * i + 4);
  EXPECT_EQ(parse(file_of(header + "}", 4 * kCount)).tensors.size(), kCount);
}

TEST(WriteSafetensors, IsReadBackAsItWas) {
  const test::TempFolder folder;
  const float values[] = {1.5f, -2.0f};
  const uint8_t flags[] = {1, 0, 1};
  write_safetensors(folder / "a.safetensors",
                    {{"flags", Dtype::U8, {3}, std::as_bytes(std::span(flags))},
                     {"values", Dtype::F32, {2, 1}, std::as_bytes(std::span(values))}},
                    {{"format", "pt"}});
  const auto file = SafetensorsFile::open(folder / "a.safetensors");
  ASSERT_NE(file->find("values"), nullptr);
  const auto bytes = file->bytes(*file->find("values"));
  EXPECT_EQ(std::memcmp(bytes.data(), values, sizeof values), 0);
  EXPECT_EQ(file->find("values")->begin, 0u);  // the wider dtype first
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 8, 0u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->find("none"), nullptr);
}

TEST(WriteSafetensors, RefusesBytesThatDoNotFitTheShape) {
  const test::TempFolder folder;
  const float values[] = {1.5f, -2.0f};
  EXPECT_THROW(write_safetensors(folder / "a", {{"v", Dtype::F32, {3}, std::as_bytes(std::span(values))}}),
               InternalError);
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

}  // namespace
}  // namespace diffract::io
