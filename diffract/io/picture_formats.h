#pragma once
#include "diffract/io/picture.h"

namespace diffract::io {

// One pair a format, each in the file of its library: the header, and RGB pixels as they are stored, not yet
// turned.
PictureHeader read_png_header(std::span<const std::byte> bytes, const std::string& source);
Image decode_png_rgb(std::span<const std::byte> bytes, const std::string& source);

PictureHeader read_jpeg_header(std::span<const std::byte> bytes, const std::string& source);
Image decode_jpeg_rgb(std::span<const std::byte> bytes, const std::string& source);

PictureHeader read_webp_header(std::span<const std::byte> bytes, const std::string& source);
Image decode_webp_rgb(std::span<const std::byte> bytes, const std::string& source);

}  // namespace diffract::io
