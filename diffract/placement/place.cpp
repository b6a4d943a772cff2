#include "diffract/placement/place.h"

#include <charconv>

#include "diffract/core/error.h"

namespace diffract::placement {
namespace {

constexpr int kMostAccelerators = 1 << 16;

int parse_index(std::string_view digits, std::string_view whole) {
  int index = -1;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (code != std::errc() || end != digits.data() + digits.size() || index < 0 || index >= kMostAccelerators)
    throw UsageError(
        "device \"{}\" is not known; expected an accelerator's index such as 0, a process such as "
        "\"rank:1\", "
        "\"cpu\" or \"disk\"",
        whole);
  return index;
}

}  // namespace

Place::Place(int index) : value_(index) {
  if (index < 0 || index >= kMostAccelerators)
    throw UsageError("device {} is not an accelerator's index; expected 0 to {}", index,
                     kMostAccelerators - 1);
}

Place Place::rank(int rank) {
  if (rank < 0 || rank >= kMostAccelerators)
    throw UsageError("rank {} is no rank; expected 0 to {}", rank, kMostAccelerators - 1);
  return Place(Raw{kRanks + rank});
}

Place Place::parse(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "disk") return disk();
  if (name == "cuda") return 0;
  if (constexpr std::string_view kRank = "rank:"; name.starts_with(kRank))
    return rank(parse_index(name.substr(kRank.size()), name));
  for (const std::string_view type : {"cuda:", "sim:"})
    if (name.starts_with(type)) return parse_index(name.substr(type.size()), name);
  return parse_index(name, name);
}

Place Place::from_json(const Json& value, const std::string& where) {
  if (value.is_number_integer() && value >= 0 && value < kMostAccelerators) return value.get<int>();
  if (value.is_string()) {
    try {
      return parse(value.get_ref<const std::string&>());
    } catch (const UsageError& error) {
      throw UsageError("{}: {}", where, error.what());
    }
  }
  throw UsageError("{}: is {}; expected an accelerator's index such as 0, \"rank:0\", \"cpu\" or \"disk\"",
                   where, excerpt(value));
}

std::string Place::name() const {
  if (is_cpu()) return "cpu";
  if (is_disk()) return "disk";
  if (is_rank()) return fmt::format("rank:{}", index());
  return std::to_string(value_);
}

Json Place::to_json() const { return is_accelerator() ? Json(value_) : Json(name()); }

}  // namespace diffract::placement
