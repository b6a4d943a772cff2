#pragma once
#include <limits>
#include <string>
#include <string_view>

#include "diffract/core/json.h"

namespace diffract::placement {

/// Where weights are kept: in the memory of accelerator 0, 1, ..., in the CPU's, or on disk. Places are
/// ordered as they fill: accelerators by their index, then the CPU, then the disk.
class Place {
 public:
  /// An accelerator by its index. Throws UsageError for a negative one.
  Place(int index);
  /// "cpu", "disk", an index, or a device's name ("cuda:1", "cuda", "sim:3"). Throws UsageError for another.
  Place(const char* name) : Place(parse(name)) {}

  static Place cpu() { return Place(Raw{kCpu}); }
  static Place disk() { return Place(Raw{kDisk}); }
  static Place parse(std::string_view name);
  /// An index or a name, as a device map's JSON holds it; `where` names it in the error.
  static Place from_json(const Json& value, const std::string& where);

  bool is_accelerator() const { return value_ < kCpu; }
  bool is_cpu() const { return value_ == kCpu; }
  bool is_disk() const { return value_ == kDisk; }
  /// Of an accelerator.
  int index() const { return value_; }

  /// "0", "cpu" or "disk".
  std::string name() const;
  /// 0, "cpu" or "disk".
  Json to_json() const;

  friend bool operator==(const Place&, const Place&) = default;
  friend bool operator<(const Place& a, const Place& b) { return a.value_ < b.value_; }

 private:
  struct Raw {
    int value;
  };
  explicit Place(Raw raw) : value_(raw.value) {}
  static constexpr int kDisk = std::numeric_limits<int>::max(), kCpu = kDisk - 1;

  int value_;
};

}  // namespace diffract::placement
