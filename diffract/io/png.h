#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/io/image.h"

namespace diffract::io {

/// A text that a PNG carries; both UTF-8, whatever the file has. Keys have 1 to 79 bytes of printable
/// Latin-1.
struct PngText {
  std::string key, value;
};

struct Png {
  Image image;
  std::vector<PngText> texts;
};

/// Whether a file's name ends in `suffix`, such as ".png", in any case.
bool has_suffix(const std::filesystem::path& file, std::string_view suffix);
/// Throws UsageError for a picture's name that does not end in .png: a name that says JPEG must not hold PNG.
void require_png_name(const std::filesystem::path& file);

/// The bytes of a PNG. Texts of plain ASCII become tEXt chunks, which every tool reads, others iTXt.
std::vector<std::byte> encode_png(const Image& image, const std::vector<PngText>& texts = {});
/// Writes a PNG that appears whole or not at all. Throws IoError.
void save_png(const std::filesystem::path& file, const Image& image, const std::vector<PngText>& texts = {});

/// Decodes to 8 bits, grey and palette pictures as RGB, transparent ones as RGBA. Pictures beyond 16,384
/// pixels each way and chunks beyond 64 MiB are refused. Throws CheckpointError naming `source`.
Png decode_png(std::span<const std::byte> bytes, const std::string& source);
Png load_png(const std::filesystem::path& file);

}  // namespace diffract::io
