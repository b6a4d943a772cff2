#include "diffract/core/json.h"

#include <cmath>
#include <utility>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/keys_read.h"

namespace diffract {
namespace {

thread_local std::set<std::string>* recorded_keys = nullptr;

std::string range_text(int64_t low, int64_t high) {
  return fmt::format("an integer from {} to {}", low, high);
}

}  // namespace

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string valid_text(const std::string& text) { return Json::parse(json_text(text)).get<std::string>(); }

Json load_json(const std::filesystem::path& file, uint64_t max_bytes) {
  return parse_json(load_text(file, max_bytes), file.string());
}

std::string excerpt(const Json& value) {
  constexpr size_t kMost = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

ConfigReader::ConfigReader(Json object, std::string source)
    : object_(std::move(object)), source_(std::move(source)) {
  if (!object_.is_object())
    throw CheckpointError("{}: is {}; expected a JSON object", source_, excerpt(object_));
}

std::set<std::string> keys_read_by(const std::function<void()>& read) {
  std::set<std::string> keys;
  struct Recording {
    std::set<std::string>* outer;
    explicit Recording(std::set<std::string>* own) : outer(std::exchange(recorded_keys, own)) {}
    ~Recording() { recorded_keys = outer; }
  } recording(&keys);
  read();
  return keys;
}

const Json* ConfigReader::find(const char* key) const {
  if (recorded_keys) recorded_keys->insert(key);
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigReader::has(const char* key) const { return find(key) != nullptr; }

void ConfigReader::fail(const char* key, const Json& found, const std::string& expected) const {
  throw CheckpointError("{}: \"{}\" is {}; expected {}", source_, key, excerpt(found), expected);
}

void ConfigReader::fail_missing(const char* key, const std::string& expected) const {
  throw CheckpointError("{}: \"{}\" is missing; expected {}", source_, key, expected);
}

namespace {

// Integers may be written 4 or 4.0; booleans are not integers.
std::optional<int64_t> as_integer(const Json& value, int64_t low, int64_t high) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return {};
    const auto integer = static_cast<int64_t>(number);
    return integer >= low && integer <= high ? std::optional(integer) : std::nullopt;
  }
  if (value.is_number_integer()) {
    const auto integer = value.get<int64_t>();
    return integer >= low && integer <= high ? std::optional(integer) : std::nullopt;
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number != std::floor(number) || std::abs(number) > 9e15) return {};
    return as_integer(Json(static_cast<int64_t>(number)), low, high);
  }
  return {};
}

}  // namespace

int64_t ConfigReader::integer(const char* key, int64_t low, int64_t high,
                              std::optional<int64_t> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, range_text(low, high));
  const auto integer = as_integer(*value, low, high);
  if (!integer) fail(key, *value, range_text(low, high));
  return *integer;
}

double ConfigReader::number(const char* key, double low, double high, std::optional<double> fallback) const {
  const Json* value = find(key);
  const auto expected = [&] { return fmt::format("a number from {} to {}", low, high); };
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, expected());
  if (!value->is_number()) fail(key, *value, expected());
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) fail(key, *value, expected());
  return number;
}

bool ConfigReader::boolean(const char* key, std::optional<bool> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, "true or false");
  if (!value->is_boolean()) fail(key, *value, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const char* key, std::optional<std::string> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, "a string");
  if (!value->is_string()) fail(key, *value, "a string");
  return value->get<std::string>();
}

std::string ConfigReader::choice(const char* key, const std::vector<std::string>& allowed,
                                 std::optional<std::string> fallback) const {
  std::string expected = "one of";
  for (const auto& name : allowed) expected += fmt::format(" \"{}\"", name);
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, expected);
  if (value->is_string())
    for (const auto& name : allowed)
      if (value->get_ref<const std::string&>() == name) return name;
  fail(key, *value, expected);
}

std::vector<int64_t> ConfigReader::integers(const char* key, int64_t low, int64_t high,
                                            std::optional<size_t> repeat,
                                            std::optional<std::vector<int64_t>> fallback) const {
  const Json* value = find(key);
  std::string expected = repeat ? fmt::format("one integer or {}, each from {} to {}", *repeat, low, high)
                                : fmt::format("a list of integers from {} to {}", low, high);
  if (!value && fallback) return *fallback;
  if (!value) fail_missing(key, expected);
  if (repeat && !value->is_array()) {
    const auto single = as_integer(*value, low, high);
    if (!single) fail(key, *value, expected);
    return std::vector<int64_t>(*repeat, *single);
  }
  if (!value->is_array() || (repeat && value->size() != *repeat)) fail(key, *value, expected);
  std::vector<int64_t> result;
  for (const Json& item : *value) {
    const auto integer = as_integer(item, low, high);
    if (!integer) fail(key, *value, expected);
    result.push_back(*integer);
  }
  return result;
}

std::vector<bool> ConfigReader::booleans(const char* key, size_t repeat, bool fallback) const {
  const Json* value = find(key);
  if (!value) return std::vector<bool>(repeat, fallback);
  if (value->is_boolean()) return std::vector<bool>(repeat, value->get<bool>());
  const std::string expected = fmt::format("true, false or {} of them", repeat);
  if (!value->is_array() || value->size() != repeat) fail(key, *value, expected);
  std::vector<bool> result;
  for (const Json& item : *value) {
    if (!item.is_boolean()) fail(key, *value, expected);
    result.push_back(item.get<bool>());
  }
  return result;
}

std::vector<double> ConfigReader::numbers(const char* key) const {
  const Json* value = find(key);
  if (!value) fail_missing(key, "a list of numbers");
  if (!value->is_array()) fail(key, *value, "a list of numbers");
  std::vector<double> result;
  for (const Json& item : *value) {
    if (!item.is_number()) fail(key, *value, "a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<std::string> ConfigReader::texts(const char* key) const {
  const Json* value = find(key);
  if (!value) fail_missing(key, "a list of strings");
  if (!value->is_array()) fail(key, *value, "a list of strings");
  std::vector<std::string> result;
  for (const Json& item : *value) {
    if (!item.is_string()) fail(key, *value, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

void ConfigReader::unsupported_unless(const char* key, const Json& only) const {
  const Json* value = find(key);
  if (!value || *value == only || *value == Json(false)) return;
  throw CheckpointError("{}: \"{}\" is {}, which diffract does not support yet (only {})", source_, key,
                        excerpt(*value), only.is_null() ? "null" : excerpt(only));
}

}  // namespace diffract
