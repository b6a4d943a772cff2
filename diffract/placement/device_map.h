#pragma once
#include <initializer_list>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "diffract/placement/max_memory.h"
#include "diffract/placement/place.h"

namespace diffract::placement {

/// Which module is where: names of modules (or of single tensors), each with its place, in the order in which
/// they were added. A name covers all that is below it, the empty name everything; the longest name decides.
class DeviceMap {
 public:
  using Entry = std::pair<std::string, Place>;

  DeviceMap() = default;
  DeviceMap(std::initializer_list<Entry> entries);
  /// {"transformer_blocks.0": 0, "proj_out": "cpu"}. Throws UsageError naming `source` and the entry.
  static DeviceMap from_json(const Json& object, const std::string& source);

  /// Adds an entry at the end, or changes it where it stands.
  void set(std::string name, Place place);
  /// The place of a module or tensor, by the longest name that covers it; none where no name does.
  std::optional<Place> find(std::string_view name) const;
  /// The same for what must be covered. Throws UsageError naming it.
  Place at(std::string_view name) const;
  /// Throws UsageError naming the first of `tensors` that no name covers, and how many there are.
  void check_covers(const std::vector<std::string>& tensors) const;

  /// The map of what is below module `name`, with the names shortened: for one component of a pipeline.
  DeviceMap below(std::string_view name) const;
  /// Adds another map's entries below module `name`.
  void add_below(std::string_view name, const DeviceMap& map);

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  const std::vector<Entry>& entries() const { return entries_; }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  /// The places that are used, each once, in the order in which they fill.
  std::vector<Place> places() const;
  bool uses(Place place) const;
  /// The first accelerator that is used, or the CPU: where what is kept in memory or on disk is computed.
  Place main_place() const;

  Json to_json() const;
  /// As Python prints a dict: {'transformer_blocks.0': 0, 'proj_out': 'cpu'}.
  std::string to_text() const;
  friend std::ostream& operator<<(std::ostream& out, const DeviceMap& map) { return out << map.to_text(); }
  /// Equal names and places, in any order, as Python compares dicts.
  friend bool operator==(const DeviceMap& a, const DeviceMap& b);

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;  // of each name in entries_
};

/// `parent.child`, or `child` where the parent is the root.
std::string join_name(std::string_view parent, std::string_view child);
/// True when module `name` is `tensor` or is above it; the root is above everything.
bool covers(std::string_view name, std::string_view tensor);

}  // namespace diffract::placement
