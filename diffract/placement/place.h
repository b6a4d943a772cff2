#pragma once
#include <limits>
#include <string>
#include <string_view>

#include "diffract/core/json.h"

namespace diffract::placement {

/// Where weights are kept: in the memory of accelerator 0, 1, ..., with another process of the job (a rank,
/// which keeps and computes them on its own device), in the CPU's memory, or on disk. Places are ordered as
/// they fill: accelerators by their index, ranks, then the CPU, then the disk.
class Place {
 public:
  /// An accelerator by its index. Throws UsageError for a negative one.
  Place(int index);
  /// "cpu", "disk", an index, a device's name ("cuda:1", "cuda", "sim:3") or "rank:1". Throws UsageError for
  /// another.
  Place(const char* name) : Place(parse(name)) {}

  static Place cpu() { return Place(Raw{kCpu}); }
  static Place disk() { return Place(Raw{kDisk}); }
  /// A process of the job by its rank in the world. Throws UsageError for a negative one.
  static Place rank(int rank);
  static Place parse(std::string_view name);
  /// An index or a name, as a device map's JSON holds it; `where` names it in the error.
  static Place from_json(const Json& value, const std::string& where);

  bool is_accelerator() const { return value_ < kRanks; }
  bool is_rank() const { return value_ >= kRanks && value_ < kCpu; }
  bool is_cpu() const { return value_ == kCpu; }
  bool is_disk() const { return value_ == kDisk; }
  /// Of an accelerator, or the rank's number.
  int index() const { return is_rank() ? value_ - kRanks : value_; }

  /// "0", "rank:0", "cpu" or "disk".
  std::string name() const;
  /// 0, "rank:0", "cpu" or "disk".
  Json to_json() const;

  friend bool operator==(const Place&, const Place&) = default;
  friend bool operator<(const Place& a, const Place& b) { return a.value_ < b.value_; }

 private:
  struct Raw {
    int value;
  };
  explicit Place(Raw raw) : value_(raw.value) {}
  static constexpr int kRanks = 1 << 16;  // the first of them; accelerators are below
  static constexpr int kDisk = std::numeric_limits<int>::max(), kCpu = kDisk - 1;

  int value_;
};

}  // namespace diffract::placement
