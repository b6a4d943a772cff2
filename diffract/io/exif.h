#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace diffract::io {

/// How a picture must be turned to be shown, 1 to 8; 1: it stands as it is. What is damaged says nothing.
/// Source: Exif 2.32, section 4.6.4, tag 274.

/// `exif`: a TIFF header and its first directory, with or without "Exif\0\0" in front.
int exif_orientation(std::span<const std::byte> exif);
/// `xmp`: the XML that some programs write instead.
int xmp_orientation(std::string_view xmp);

}  // namespace diffract::io
