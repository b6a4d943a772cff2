#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract {

/// Keeps the order of keys, so that what is written back reads like what was read.
using Json = nlohmann::ordered_json;

/// Parses `text`. Throws CheckpointError naming `source` and the place where it went wrong. Nesting beyond
/// 200 levels is refused. Infinity and NaN, which Python writes, are read as the largest number and null.
Json parse_json(std::string_view text, const std::string& source);

/// Reads and parses a JSON file of at most `max_bytes`.
Json load_json(const std::filesystem::path& file, uint64_t max_bytes = 16 << 20);

/// A JSON text, in one line unless `indent` is given. What is not UTF-8, as a file's name may be, is U+FFFD
/// in it.
std::string json_text(const Json& json, int indent = -1);
/// A text whose bytes are UTF-8, as JSON can hold it.
std::string valid_text(const std::string& text);

/// A JSON object from outside, read key by key; every error names the file, the key, what was found and what
/// was expected: `unet/config.json: "in_channels" is "four"; expected an integer from 1 to 65536`. A key that
/// is missing or null gives the fallback; without one it is an error.
class ConfigReader {
 public:
  ConfigReader(Json object, std::string source);

  int64_t integer(const char* key, int64_t low, int64_t high, std::optional<int64_t> fallback = {}) const;
  double number(const char* key, double low, double high, std::optional<double> fallback = {}) const;
  bool boolean(const char* key, std::optional<bool> fallback = {}) const;
  std::string text(const char* key, std::optional<std::string> fallback = {}) const;
  /// One of `allowed`, e.g. an activation's name.
  std::string choice(const char* key, const std::vector<std::string>& allowed,
                     std::optional<std::string> fallback = {}) const;
  /// A list of integers; a single integer stands for `repeat` copies of it (diffusers allows both). With
  /// `repeat`, a list must have that length.
  std::vector<int64_t> integers(const char* key, int64_t low, int64_t high, std::optional<size_t> repeat = {},
                                std::optional<std::vector<int64_t>> fallback = {}) const;
  std::vector<bool> booleans(const char* key, size_t repeat, bool fallback) const;
  std::vector<double> numbers(const char* key) const;
  std::vector<std::string> texts(const char* key) const;

  /// True when the key is there and not null.
  bool has(const char* key) const;
  /// Refuses a config whose `key` asks for something that is not built: anything but null, false and `only`.
  void unsupported_unless(const char* key, const Json& only = nullptr) const;

  const Json& json() const { return object_; }
  const std::string& source() const { return source_; }

 private:
  const Json* find(const char* key) const;  // null when missing or null
  [[noreturn]] void fail(const char* key, const Json& found, const std::string& expected) const;
  [[noreturn]] void fail_missing(const char* key, const std::string& expected) const;

  Json object_;
  std::string source_;
};

/// A value short enough for an error message.
std::string excerpt(const Json& value);

}  // namespace diffract
