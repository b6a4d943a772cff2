#include "diffract/core/json.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract {
namespace {

using test::error_of;

ConfigReader reader(const Json& object) { return {object, "unet/config.json"}; }

TEST(ParseJson, NamesTheSourceAndThePlace) {
  const auto message = error_of<CheckpointError>([] { parse_json("{\"a\": 1,\n \"b\": }", "config.json"); });
  EXPECT_NE(message.find("config.json"), std::string::npos);
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
}

TEST(ParseJson, RefusesDeepNesting) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_NE(error_of<CheckpointError>([&] { parse_json(deep, "x"); }).find("nested"), std::string::npos);
}

// Small objects and large ones, which have an index.
TEST(ParseJson, KeepsTheOrderOfKeysAndTheLastOfEqualOnes) {
  for (const int count : {3, 32, 33, 5000}) {
    std::string text = "{";
    for (int i = count; i > 0; --i)
      text += fmt::format("\"k{}\": {{\"at\": [{}, -1.5, null, true]}}, ", i, i);
    text += "\"k2\": \"again\", \"k0\": \"last\"}";
    const Json json = parse_json(text, "x");
    ASSERT_EQ(json.size(), static_cast<size_t>(count) + 1);
    EXPECT_EQ(json.begin().key(), fmt::format("k{}", count));
    EXPECT_EQ(json.back(), "last");
    EXPECT_EQ(json["k2"], "again");
    EXPECT_EQ(json["k3"], Json({{"at", {3, -1.5, nullptr, true}}}));
    EXPECT_EQ(json, Json::parse(text));
  }
  for (const char* text : {"7", "\"t\"", "[]", "{}", "[[1, {}], {\"a\": []}]"})
    EXPECT_EQ(parse_json(text, "x"), Json::parse(text)) << text;
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "1 2", "1e999"})
    EXPECT_THROW(parse_json(text, "x"), CheckpointError) << text;
}

TEST(ParseJson, TakesTheInfinitiesThatPythonWrites) {
  const Json json =
      parse_json(R"({"low": -Infinity, "high": Infinity, "none": NaN, "text": "-Infinity NaN \" NaN"})", "x");
  EXPECT_LT(json["low"].get<double>(), -1e300);
  EXPECT_GT(json["high"].get<double>(), 1e300);
  EXPECT_TRUE(json["none"].is_null());
  EXPECT_EQ(json["text"], "-Infinity NaN \" NaN");
}

TEST(ConfigReader, NamesFileKeyFoundAndExpected) {
  const auto message = error_of<CheckpointError>([] {
    reader({{"in_channels", "four"}}).integer("in_channels", 1, 64);
  });
  EXPECT_EQ(message, "unet/config.json: \"in_channels\" is \"four\"; expected an integer from 1 to 64");
}

TEST(ConfigReader, TakesTheFallbackForMissingAndNull) {
  const auto config = reader({{"a", nullptr}});
  EXPECT_EQ(config.integer("a", 0, 9, 5), 5);
  EXPECT_EQ(config.integer("b", 0, 9, 6), 6);
  EXPECT_THROW(config.integer("a", 0, 9), CheckpointError);
  EXPECT_FALSE(config.has("a"));
}

TEST(ConfigReader, RefusesNumbersOutOfRangeOrNotWhole) {
  for (const Json& bad : {Json(0), Json(10), Json(1.5), Json(1e30), Json(true), Json("1"),
                          Json(Json::array({1})), Json(18446744073709551615u), Json(-1)})
    EXPECT_THROW(reader({{"a", bad}}).integer("a", 1, 9), CheckpointError) << bad;
  EXPECT_EQ(reader({{"a", 4.0}}).integer("a", 1, 9), 4);
  EXPECT_THROW(reader({{"a", 1.5}}).number("a", 0, 1), CheckpointError);
  EXPECT_THROW(reader({{"a", 1}}).boolean("a"), CheckpointError);
}

TEST(ConfigReader, TakesOneIntegerForAll) {
  EXPECT_EQ(reader({{"a", 8}}).integers("a", 1, 9, 3), (std::vector<int64_t>{8, 8, 8}));
  EXPECT_EQ(reader({{"a", {5, 6}}}).integers("a", 1, 9, 2), (std::vector<int64_t>{5, 6}));
  EXPECT_THROW(reader({{"a", {5, 6}}}).integers("a", 1, 9, 3), CheckpointError);
  EXPECT_THROW(reader({{"a", {5, 60}}}).integers("a", 1, 9), CheckpointError);
}

TEST(ConfigReader, RefusesWhatIsNotBuilt) {
  EXPECT_NO_THROW(reader({{"a", nullptr}, {"b", false}}).unsupported_unless("a"));
  EXPECT_NO_THROW(reader({{"b", false}}).unsupported_unless("b"));
  EXPECT_NO_THROW(reader({{"c", "default"}}).unsupported_unless("c", "default"));
  EXPECT_THROW(reader({{"c", "other"}}).unsupported_unless("c", "default"), CheckpointError);
}

}  // namespace
}  // namespace diffract
