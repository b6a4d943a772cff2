#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace diffract::io {

/// An 8-bit picture: rows from the top, pixels from the left, channels together (RGBRGB...).
struct Image {
  uint32_t width = 0, height = 0;
  uint32_t channels = 3;  // 1 grey, 3 RGB, 4 RGBA
  std::vector<uint8_t> pixels;

  /// Writes a PNG that appears whole or not at all. Throws UsageError for a name that does not end in .png,
  /// IoError.
  void save(const std::filesystem::path& file) const;
};

}  // namespace diffract::io
