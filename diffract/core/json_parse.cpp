#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"

namespace diffract {
namespace {

constexpr size_t kMaxDepth = 200;

// Python's json module, which writes the configs, writes infinities and NaN as no JSON parser reads them.
// Here they become the largest numbers and null. Gives nothing when there are none, which is nearly always.
std::optional<std::string> without_python_constants(std::string_view text) {
  if (text.find("Infinity") == std::string_view::npos && text.find("NaN") == std::string_view::npos)
    return {};
  std::string plain;
  bool in_string = false;
  for (size_t at = 0; at < text.size();) {
    if (!in_string && text.substr(at).starts_with("Infinity")) {
      plain += "1.7976931348623157e308";
      at += 8;
    } else if (!in_string && text.substr(at).starts_with("NaN")) {
      plain += "null";
      at += 3;
    } else if (in_string && text[at] == '\\') {
      plain += text.substr(at, 2);
      at += 2;
    } else {
      if (text[at] == '"') in_string = !in_string;
      plain += text[at++];
    }
  }
  return plain;
}

// Builds the values that nlohmann's parser reports. An ordered object's own insertion looks through all of
// its keys, which takes seconds for a vocabulary; here a large object has an index of them.
class Builder {
 public:
  explicit Builder(const std::string& source) : source_(source) {}
  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // JSON has none
  bool start_array(size_t) { return open(Json::array()); }
  bool start_object(size_t) { return open(Json::object()); }
  bool end_array() { return close(); }
  bool end_object() { return close(); }
  bool key(std::string& name) {
    Level& level = open_.back();
    Json::object_t::Container& items = *level.value->get_ptr<Json::object_t*>();
    constexpr size_t kIndexed = 32;
    if (items.size() >= kIndexed && level.places.empty())
      for (size_t i = 0; i < items.size(); ++i) level.places.emplace(items[i].first, i);
    size_t place = items.size();
    if (level.places.empty()) {
      for (size_t i = 0; i < items.size(); ++i)
        if (items[i].first == name) place = i;
    } else {
      place = level.places.emplace(name, place).first->second;
    }
    if (place == items.size()) items.emplace_back(std::move(name), nullptr);
    level.next = &items[place].second;  // of equal keys the last counts
    return true;
  }
  // nlohmann's message names the line, column and what was expected; its bracketed id says nothing to a user.
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    std::string reason = error.what();
    if (const size_t end = reason.find("] "); end != std::string::npos) reason.erase(0, end + 2);
    throw CheckpointError("{}: not valid JSON: {}", source_, reason);
  }

 private:
  struct Level {
    Json* value;
    Json* next = nullptr;  // an object's: where the next value goes
    std::unordered_map<std::string, size_t> places = {};
  };

  Json* put(Json value) {
    Json* place = &root_;
    if (!open_.empty() && open_.back().value->is_array()) {
      open_.back().value->push_back(nullptr);
      place = &open_.back().value->back();
    } else if (!open_.empty()) {
      place = open_.back().next;
    }
    *place = std::move(value);
    return place;
  }
  bool add(Json value) {
    put(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() >= kMaxDepth)
      throw CheckpointError("{}: JSON is nested deeper than {} levels", source_, kMaxDepth);
    open_.push_back({.value = put(std::move(value))});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& source_;
  Json root_;
  std::vector<Level> open_;  // a level's value stays where it is until the level is closed
};

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  const auto plain = without_python_constants(text);
  if (plain) text = *plain;
  Builder builder(source);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace diffract
