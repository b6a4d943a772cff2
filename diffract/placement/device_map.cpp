#include "diffract/placement/device_map.h"

#include <algorithm>
#include <set>

#include "diffract/core/error.h"

namespace diffract::placement {

std::string join_name(std::string_view parent, std::string_view child) {
  if (parent.empty() || child.empty()) return std::string(parent.empty() ? child : parent);
  return fmt::format("{}.{}", parent, child);
}

bool covers(std::string_view name, std::string_view tensor) {
  if (name.empty() || name == tensor) return true;
  return tensor.size() > name.size() && tensor.starts_with(name) && tensor[name.size()] == '.';
}

DeviceMap::DeviceMap(std::initializer_list<Entry> entries) {
  for (const auto& [name, place] : entries) set(name, place);
}

DeviceMap DeviceMap::from_json(const Json& object, const std::string& source) {
  if (!object.is_object())
    throw UsageError("{}: is {}; expected an object of module names and devices", source, excerpt(object));
  DeviceMap map;
  for (const auto& [name, value] : object.items())
    map.set(name, Place::from_json(value, fmt::format("{}: \"{}\"", source, name)));
  return map;
}

void DeviceMap::set(std::string name, Place place) {
  const auto [found, added] = index_.emplace(name, entries_.size());
  if (added)
    entries_.emplace_back(std::move(name), place);
  else
    entries_[found->second].second = place;
}

std::optional<Place> DeviceMap::find(std::string_view name) const {
  std::string key(name);
  while (true) {
    if (const auto found = index_.find(key); found != index_.end()) return entries_[found->second].second;
    if (key.empty()) return {};
    const size_t dot = key.rfind('.');
    key.resize(dot == std::string::npos ? 0 : dot);
  }
}

Place DeviceMap::at(std::string_view name) const {
  const auto place = find(name);
  if (!place)
    throw UsageError("device map: no entry covers \"{}\". Name it or a module above it; \"\" covers the rest",
                     name);
  return *place;
}

void DeviceMap::check_covers(const std::vector<std::string>& tensors) const {
  const std::string* first = nullptr;
  size_t count = 0;
  for (const std::string& tensor : tensors) {
    if (find(tensor)) continue;
    if (!first) first = &tensor;
    ++count;
  }
  if (first)
    throw UsageError(
        "device map: no entry covers \"{}\"{}. Name it or a module above it; \"\" covers the rest", *first,
        count > 1 ? fmt::format(" and {} more tensors", count - 1) : "");
}

DeviceMap DeviceMap::below(std::string_view name) const {
  DeviceMap map;
  if (const auto place = find(name)) map.set("", *place);
  for (const auto& [key, place] : entries_)
    if (key != name && covers(name, key)) map.set(name.empty() ? key : key.substr(name.size() + 1), place);
  return map;
}

void DeviceMap::add_below(std::string_view name, const DeviceMap& map) {
  for (const auto& [key, place] : map) set(join_name(name, key), place);
}

std::vector<Place> DeviceMap::places() const {
  std::set<Place> used;
  for (const auto& entry : entries_) used.insert(entry.second);
  return {used.begin(), used.end()};
}

bool DeviceMap::uses(Place place) const {
  return std::any_of(begin(), end(), [&](const Entry& entry) { return entry.second == place; });
}

Place DeviceMap::main_place() const {
  const auto used = places();
  return !used.empty() && used.front().is_accelerator() ? used.front() : Place::cpu();
}

Json DeviceMap::to_json() const {
  Json object = Json::object();
  for (const auto& [name, place] : entries_) object[name] = place.to_json();
  return object;
}

std::string DeviceMap::to_text() const {
  std::string text = "{";
  for (const auto& [name, place] : entries_)
    text += fmt::format("{}'{}': {}", text.size() > 1 ? ", " : "", name,
                        place.is_accelerator() ? place.name() : fmt::format("'{}'", place.name()));
  return text + "}";
}

bool operator==(const DeviceMap& a, const DeviceMap& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const DeviceMap::Entry& entry) {
           const auto found = b.index_.find(entry.first);
           return found != b.index_.end() && b.entries_[found->second].second == entry.second;
         });
}

}  // namespace diffract::placement
