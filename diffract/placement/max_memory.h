#pragma once
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "diffract/placement/place.h"

namespace diffract::placement {

/// Bytes of a size as accelerate reads it: "16GB", "16GiB", "1.5MB", "100KB"; a lower-case b at the end of
/// a decimal unit means bits ("16Gb" is 2 GB), which is said in a warning. Throws UsageError for another
/// text. Source: accelerate convert_file_size_to_int.
int64_t convert_file_size_to_int(std::string_view size);

/// A number of bytes, given as one or as a text.
struct MemorySize {
  template <std::integral Int>
  MemorySize(Int count) : bytes(static_cast<int64_t>(count)) {}
  MemorySize(const char* size) : bytes(convert_file_size_to_int(size)) {}
  MemorySize(const std::string& size) : bytes(convert_file_size_to_int(size)) {}
  int64_t bytes;
};

/// How much of each place may be used, in the order in which places fill. A place that is not in it is not
/// used, but for the disk, which is never full.
class MaxMemory {
 public:
  using Entry = std::pair<Place, int64_t>;  // bytes

  MaxMemory() = default;
  /// As in Python: `{{0, "16GB"}, {1, "16GB"}, {"cpu", "30GB"}}`. Throws UsageError for negative sizes and
  /// for a place that is named twice.
  MaxMemory(std::initializer_list<std::pair<Place, MemorySize>> sizes);
  /// "0=16GB,1=16GB,cpu=30GB", where blanks and a comma at the end do not matter, or a JSON object as
  /// from_json reads it; plain numbers are bytes.
  static MaxMemory parse(std::string_view text);
  /// {"0": "16GB", "cpu": 30000000000}; `source` names it in errors.
  static MaxMemory from_json(const Json& object, const std::string& source);

  /// Adds or changes a place.
  void set(Place place, int64_t bytes);
  /// The place's bytes; none where it is not named.
  std::optional<int64_t> find(Place place) const;
  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  /// {"0": 16000000000, "cpu": 30000000000}
  Json to_json() const;
  friend bool operator==(const MaxMemory&, const MaxMemory&) = default;

 private:
  static MaxMemory parse_object(std::string_view text);
  void add(Place place, int64_t bytes);  // refuses a second of the same place
  std::vector<Entry> entries_;           // sorted by place
};

}  // namespace diffract::placement
