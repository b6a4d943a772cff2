// Pictures from outside: every kind as Pillow reads it, and what is refused.
#include "diffract/io/picture.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/io/png.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const std::string& name) { return load_text(test::data("pictures/" + name), 1 << 20); }

Image decode(std::string_view bytes) { return decode_picture(std::as_bytes(std::span(bytes)), "x"); }

std::string refusal(std::string_view bytes) {
  return test::error_of<UsageError>([&] { decode(bytes); });
}

// The files of tests/data/pictures, of one format or all.
std::vector<std::string> files(const std::string& ending = "") {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(test::data("pictures"))) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".rgb.png") && name.ends_with(ending)) names.push_back(name);
  }
  return names;
}

TEST(Pictures, AreReadAsLoadImageGivesThem) {
  EXPECT_GE(files().size(), 41u);
  for (const std::string& name : files()) {
    const Image found = load_image(test::data("pictures/" + name));
    const Image expected = load_png(test::data("pictures/" + name + ".rgb.png")).image;
    EXPECT_EQ(found.width, expected.width) << name;
    EXPECT_EQ(found.height, expected.height) << name;
    EXPECT_EQ(found.channels, 3u) << name;
    EXPECT_TRUE(found.pixels == expected.pixels) << name;
  }
}

TEST(Pictures, SizesAreKnownFromTheHeader) {
  for (const std::string& name : files()) {
    const std::string bytes = bytes_of(name);
    const auto header = read_picture_header(std::as_bytes(std::span(bytes)), name);
    const Image image = decode(bytes);
    EXPECT_EQ(header.shown_width(), image.width) << name;
    EXPECT_EQ(header.shown_height(), image.height) << name;
  }
}

TEST(Pictures, AreRefusedWhereTheyAreNotWhole) {
  for (const char* name : {"rgba8.png", "interlaced8.png", "rgb.jpg", "progressive.jpg", "grey.jpg",
                           "lossy.webp", "lossless_alpha.webp"}) {
    const std::string bytes = bytes_of(name);
    // A JPEG's last marker says nothing more.
    const size_t end = std::string_view(name).ends_with(".jpg") ? 4 : 1;
    for (size_t length = 1; length <= bytes.size() - end; ++length)
      EXPECT_NE(refusal(bytes.substr(0, length)), "<no error>") << name << " " << length;
  }
}

TEST(Pictures, SurviveEveryFlippedByte) {
  for (const char* name : {"palette4.png", "exif_behind.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg",
                           "exif6.jpg", "lossy_alpha.webp", "exif.webp", "animated.webp"}) {
    const std::string sound = bytes_of(name);
    for (size_t i = 0; i < sound.size(); ++i) {
      std::string flipped = sound;
      flipped[i] = static_cast<char>(flipped[i] ^ 0x55);
      try {
        const Image image = decode(flipped);
        EXPECT_EQ(image.pixels.size(), size_t{image.width} * image.height * 3);
      } catch (const UsageError& error) {
        EXPECT_TRUE(std::string(error.what()).starts_with("x: ")) << error.what();
      }
    }
  }
}

TEST(Pictures, SayWhatTheyAreNot) {
  EXPECT_EQ(refusal("GIF89a and so on"), "x: is a GIF; expected PNG, JPEG or WebP");
  EXPECT_EQ(refusal("a text"), "x: is no picture; expected PNG, JPEG or WebP");
  EXPECT_EQ(refusal(std::string_view("\0\0\0\x1c"
                                     "ftypheic",
                                     12)),
            "x: is an HEIC picture or a film; expected PNG, JPEG or WebP");
  const test::TempFolder folder;
  const auto message = [](const fs::path& file) {
    return test::error_of<UsageError>([&] { load_image(file); });
  };
  EXPECT_TRUE(message(folder.file("empty.png", "")).ends_with("is empty; expected a picture"));
  EXPECT_TRUE(message(folder.path()).ends_with("not a regular file"));
  EXPECT_TRUE(message(folder / "missing.png").ends_with("no such file"));
}

// Headers of pictures that nobody has memory for; the rest of each file is not looked at.
TEST(Pictures, AreRefusedByTheirHeaderWhereTheyAreTooLarge) {
  const auto patched = [](std::string bytes, size_t at, std::string_view with) {
    bytes.replace(at, with.size(), with);
    return bytes;
  };
  // The header's checksum of 12,000 x 9,000, so that the size and nothing else is wrong.
  const std::string png =
      patched(bytes_of("rgba8.png"), 16,
              std::string_view("\0\0\x2e\xe0\0\0\x23\x28\x08\x06\0\0\0\xcd\x29\x71\xe8", 17));
  const std::string jpeg = bytes_of("rgb.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  const std::string large_jpeg = patched(jpeg, frame + 5, std::string_view("\x40\0\x40\0", 4));
  const std::string webp = bytes_of("exif.webp");  // VP8X: its canvas of 24 bits each way, less 1
  ASSERT_EQ(webp.substr(12, 4), "VP8X");
  const std::string large_webp = patched(webp, 24, std::string_view("\xff\x3f\0\xff\x3f\0", 6));
  EXPECT_EQ(refusal(png),
            "x: is a picture of 12000x9000 pixels; expected at most 89478485 in all, and 65535 each way");
  EXPECT_EQ(refusal(large_jpeg),
            "x: is a picture of 16384x16384 pixels; expected at most 89478485 in all, and 65535 each way");
  EXPECT_NE(refusal(large_webp), "<no error>");
}

}  // namespace
}  // namespace diffract::io
