#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace diffract::io {

/// The SHA-256 of some bytes as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);
/// The same of a file's bytes, read piece by piece. Throws IoError when it cannot be read.
std::string sha256_of_file(const std::filesystem::path& file);

}  // namespace diffract::io
