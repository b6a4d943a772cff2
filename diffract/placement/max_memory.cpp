#include "diffract/placement/max_memory.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/size_text.h"

namespace diffract::placement {
namespace {

struct Unit {
  std::string_view suffix;  // in capitals
  double bytes;
  bool decimal;  // may be bits
};
constexpr Unit kUnits[] = {{"GIB", 1ull << 30, false}, {"MIB", 1 << 20, false}, {"KIB", 1 << 10, false},
                           {"GB", 1e9, true},          {"MB", 1e6, true},       {"KB", 1e3, true}};

[[noreturn]] void refuse(std::string_view size) {
  throw UsageError("memory size \"{}\" is not known; expected a number with a unit, such as 16GB or 16GiB",
                   size);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// What Python's float() takes as a finite number: blanks around it, "_" between digits, exponents.
std::optional<double> python_float(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return {};
  const auto digit_at = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      plain += text[i];
    else if (i == 0 || !digit_at(i - 1) || !digit_at(i + 1))
      return {};
  }
  if (plain.starts_with('+') && !plain.starts_with("+-")) plain.erase(0, 1);
  double value = 0;
  const auto [end, code] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (code != std::errc() || end != plain.data() + plain.size() || !std::isfinite(value)) return {};
  return value;
}

}  // namespace

int64_t convert_file_size_to_int(std::string_view size) {
  std::string upper(size);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  for (const Unit& unit : kUnits) {
    if (!upper.ends_with(unit.suffix)) continue;
    const auto number = python_float(size.substr(0, size.size() - unit.suffix.size()));
    if (!number) refuse(size);
    const double bytes = std::trunc(*number * unit.bytes);
    if (bytes < 0 || bytes >= 0x1p63) refuse(size);
    const auto whole = static_cast<int64_t>(bytes);
    if (!unit.decimal || !size.ends_with('b')) return whole;
    // As accelerate has it, but hardly ever what is meant.
    log::write_once(log::Level::warning,
                    fmt::format("memory size \"{}\" is {}: a small b means bits. {}B are bytes", size,
                                size_text(whole / 8), size.substr(0, size.size() - 1)));
    return whole / 8;
  }
  refuse(size);
}

MaxMemory::MaxMemory(std::initializer_list<std::pair<Place, MemorySize>> sizes) {
  for (const auto& [place, size] : sizes) add(place, size.bytes);
}

MaxMemory MaxMemory::parse(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('{')) return parse_object(text);
  MaxMemory memory;
  if (text.ends_with(',')) text.remove_suffix(1);
  for (size_t from = 0; from <= text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    const std::string_view item = trimmed(text.substr(from, comma - from));
    from = comma + 1;
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos)
      throw UsageError("memory budget \"{}\" is not known; expected DEVICE=SIZE, such as 0=16GB or cpu=30GB",
                       item);
    const std::string_view size = trimmed(item.substr(equals + 1));
    int64_t bytes = 0;
    const auto [end, code] = std::from_chars(size.data(), size.data() + size.size(), bytes);
    const bool is_plain = code == std::errc() && end == size.data() + size.size();
    memory.add(Place::parse(trimmed(item.substr(0, equals))),
               is_plain ? bytes : convert_file_size_to_int(size));
  }
  return memory;
}

MaxMemory MaxMemory::parse_object(std::string_view text) {
  constexpr const char* kSource = "memory budgets";
  Json object;
  try {
    object = parse_json(text, kSource);
  } catch (const CheckpointError& error) {  // the text is the user's, not a model's
    throw UsageError(
        "{}; expected {{\"0\": \"16GB\", \"cpu\": \"30GB\"}}, each device in quotes, or 0=16GB,cpu=30GB",
        error.what());
  }
  return from_json(object, kSource);
}

MaxMemory MaxMemory::from_json(const Json& object, const std::string& source) {
  if (!object.is_object())
    throw UsageError("{}: is {}; expected an object of devices and sizes", source, excerpt(object));
  MaxMemory memory;
  for (const auto& [name, value] : object.items()) {
    if (value.is_string())
      memory.add(Place::parse(name), convert_file_size_to_int(value.get_ref<const std::string&>()));
    else if (value.is_number_integer() && value >= 0 && value <= std::numeric_limits<int64_t>::max())
      memory.add(Place::parse(name), value.get<int64_t>());
    else
      throw UsageError("{}: \"{}\" is {}; expected bytes or a size such as \"16GB\"", source, name,
                       excerpt(value));
  }
  return memory;
}

void MaxMemory::add(Place place, int64_t bytes) {
  if (find(place)) throw UsageError("memory budget: device {} is given twice", place.name());
  set(place, bytes);
}

void MaxMemory::set(Place place, int64_t bytes) {
  if (bytes < 0)
    throw UsageError("memory budget: {} bytes for device {}; expected 0 or more", bytes, place.name());
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), place,
                                   [](const Entry& entry, Place other) { return entry.first < other; });
  if (at != entries_.end() && at->first == place)
    at->second = bytes;
  else
    entries_.emplace(at, place, bytes);
}

std::optional<int64_t> MaxMemory::find(Place place) const {
  for (const auto& [known, bytes] : entries_)
    if (known == place) return bytes;
  return {};
}

Json MaxMemory::to_json() const {
  Json object = Json::object();
  for (const auto& [place, bytes] : entries_) object[place.name()] = bytes;
  return object;
}

}  // namespace diffract::placement
