#include "diffract/placement/spread.h"

#include <algorithm>
#include <numeric>

namespace diffract::placement {
namespace {

// The level such that min(bytes, level), summed over all blocks, is `read`.
double level_of(std::vector<int64_t> bytes, int64_t read) {
  std::sort(bytes.begin(), bytes.end());
  auto rest = static_cast<double>(read);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const double level = rest / static_cast<double>(bytes.size() - i);
    if (level <= static_cast<double>(bytes[i])) return level;
    rest -= static_cast<double>(bytes[i]);
  }
  return static_cast<double>(bytes.back());
}

}  // namespace

std::vector<bool> spread_kept(const std::vector<int64_t>& bytes, int64_t may_stay) {
  const int64_t total = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  std::vector<bool> kept(bytes.size(), true);
  if (total <= may_stay) return kept;
  const double level = level_of(bytes, total - may_stay);
  double due = static_cast<double>(bytes.front()) / 2;  // of reading, rounded to whole blocks
  int64_t staying = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    due += std::min(static_cast<double>(bytes[i]), level);
    kept[i] = due + 0.5 < static_cast<double>(bytes[i]);  // half a byte: sums of fractions are not exact
    if (kept[i])
      staying += bytes[i];
    else
      due -= static_cast<double>(bytes[i]);
  }
  // Blocks are whole: what is left over either way is one block or two.
  for (size_t i = bytes.size(); i-- > 0 && staying > may_stay;) {
    if (!kept[i]) continue;
    kept[i] = false;
    staying -= bytes[i];
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (kept[i] || staying + bytes[i] > may_stay) continue;
    kept[i] = true;
    staying += bytes[i];
  }
  return kept;
}

}  // namespace diffract::placement
