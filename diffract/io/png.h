#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "diffract/io/image.h"

namespace diffract::io {

/// A text that a PNG carries; both UTF-8. Keys have 1 to 79 bytes of printable Latin-1.
struct PngText {
  std::string key, value;
};

struct Png {
  Image image;
  std::vector<PngText> texts;
};

/// The bytes of a PNG. Texts of plain ASCII become tEXt chunks, which every tool reads, others iTXt.
std::vector<std::byte> encode_png(const Image& image, const std::vector<PngText>& texts = {});
/// Writes a PNG that appears whole or not at all. Throws IoError.
void save_png(const std::filesystem::path& file, const Image& image, const std::vector<PngText>& texts = {});

/// Decodes to 8 bits, grey and palette pictures as RGB, transparent ones as RGBA. Pictures beyond 16,384
/// pixels each way and chunks beyond 64 MiB are refused. Throws CheckpointError naming `source`.
Png decode_png(std::span<const std::byte> bytes, const std::string& source);
Png load_png(const std::filesystem::path& file);

}  // namespace diffract::io
