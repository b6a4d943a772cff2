#include "diffract/pipelines/field_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "diffract/core/error.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kMostInteger = std::numeric_limits<int64_t>::max();

ConfigReader reader(const Json& value, const std::string& where, const char* key) {
  return {Json{{key, value}}, where};
}

// A JSON number, or as the command line has it, a text.
std::optional<double> number_in(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return {};
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_one = error == std::errc() && end == text.data() + text.size() && std::isfinite(number);
  return is_one ? std::optional(number) : std::nullopt;
}

// The items of "[...]" without its brackets; no array where there are none.
Json list_of(const Json& value) {
  if (!value.is_string()) return value;
  return Json::parse("[" + value.get<std::string>() + "]", nullptr, /*allow_exceptions=*/false);
}

// The texts of a list, or one.
std::vector<std::string> one_or_many(const Json& value, const std::string& where, const char* key) {
  const auto in = reader(value, where, key);
  auto texts = value.is_array() ? in.texts(key) : std::vector<std::string>{in.text(key)};
  for (const std::string& text : texts) refuse_zero_byte(text, fmt::format("{}: \"{}\"", where, key));
  return texts;
}

}  // namespace

int64_t integer_value(const Json& value, const std::string& where, const char* key) {
  const bool is_too_large = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{kMostInteger};
  if (value.is_number_integer() && !is_too_large) return value.get<int64_t>();
  return reader(value, where, key).integer(key, -kMostInteger, kMostInteger);
}

double number_value(const Json& value, const std::string& where, const char* key) {
  return value.is_number() ? value.get<double>() : reader(value, where, key).number(key, -1e300, 1e300);
}

uint64_t seed_value(const Json& value, const std::string& where, const char* key) {
  if (!value.is_number_unsigned())
    throw UsageError("{}: \"{}\" is {}; expected a whole number from 0 to {}", where, key, excerpt(value),
                     std::numeric_limits<uint64_t>::max());
  return value.get<uint64_t>();
}

bool flag_value(const Json& value, const std::string& where, const char* key) {
  return reader(value, where, key).boolean(key);
}

std::string text_value(const Json& value, const std::string& where, const char* key) {
  return reader(value, where, key).text(key);
}

Json object_value(const Json& value, const std::string& where, const char* key) {
  if (!value.is_object())
    throw UsageError("{}: \"{}\" is {}; expected a JSON object", where, key, excerpt(value));
  return value;
}

std::vector<std::string> texts_value(const Json& value, const std::string& where, const char* key) {
  return one_or_many(value, where, key);
}

HeightWidth pair_value(const Json& value, const std::string& where, const char* key) {
  const Json list = list_of(value);
  const auto is_whole = [](const Json& one) { return one.is_number_integer(); };
  if (!list.is_array() || list.size() != 2 || !std::all_of(list.begin(), list.end(), is_whole))
    throw UsageError("{}: \"{}\" is {}; expected two whole numbers, as 1024,768", where, key, excerpt(value));
  return {integer_value(list[0], where, key), integer_value(list[1], where, key)};
}

std::vector<double> numbers_value(const Json& value, const std::string& where, const char* key) {
  constexpr size_t kMost = 10'000;
  const Json list = list_of(value);
  const auto is_number = [](const Json& one) { return one.is_number(); };
  if (!list.is_array() || list.empty() || list.size() > kMost ||
      !std::all_of(list.begin(), list.end(), is_number))
    throw UsageError("{}: \"{}\" is {}; expected 1 to {} numbers, as 999,500,1", where, key, excerpt(value),
                     kMost);
  return list.get<std::vector<double>>();
}

std::vector<double> numbers_of_nets_value(const Json& value, const std::string& where, const char* key) {
  constexpr size_t kMost = 16;
  std::vector<double> numbers;
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    const auto number = number_in(one);
    if (!number || numbers.size() == kMost)
      throw UsageError("{}: \"{}\" is {}; expected a number, or a list of up to 16", where, key,
                       excerpt(value));
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<InputPicture> pictures_value(const Json& value, const std::string& where, const char* key) {
  std::vector<InputPicture> pictures;
  for (const std::string& file : one_or_many(value, where, key)) {
    try {
      pictures.emplace_back(std::filesystem::path(file));
    } catch (const UsageError& error) {
      throw UsageError("{}: {}", where, error.what());
    }
  }
  return pictures;
}

void refuse_zero_byte(std::string_view text, const std::string& where) {
  if (const size_t at = text.find('\0'); at != std::string_view::npos)
    throw UsageError("{}: the text has a zero byte, at byte {} of it; a prompt cannot hold one", where, at);
}

}  // namespace diffract::pipelines
