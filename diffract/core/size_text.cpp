#include "diffract/core/size_text.h"

#include <fmt/format.h>

#include <cstdlib>

namespace diffract {

std::string size_text(int64_t bytes) {
  const auto number = static_cast<double>(bytes);
  const int64_t size = std::abs(bytes);
  if (size >= 1'000'000'000) return fmt::format("{:.2f} GB", number / 1e9);
  if (size >= 1'000'000) return fmt::format("{:.1f} MB", number / 1e6);
  if (size >= 100) return fmt::format("{:.1f} kB", number / 1e3);
  return fmt::format("{} B", bytes);
}

}  // namespace diffract
