#include "diffract/io/png.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

Image gradient(uint32_t width, uint32_t height, uint32_t channels = 3) {
  Image image{.width = width, .height = height, .channels = channels, .pixels = {}};
  for (uint32_t i = 0; i < width * height * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * 7));
  return image;
}

Png decode(const std::vector<std::byte>& bytes) { return decode_png(bytes, "x.png"); }

TEST(Png, KeepsPixelsAndTexts) {
  const auto image = gradient(13, 7);
  const std::vector<PngText> texts = {{"parameters", "a dog\nSteps: 5, Size: 13x7"},
                                      {"diffract", "{\"prompt\": \"你好 🐶\"}"}};
  const auto png = decode(encode_png(image, texts));
  EXPECT_EQ(png.image.pixels, image.pixels);
  ASSERT_EQ(png.texts.size(), 2u);
  EXPECT_EQ(png.texts[0].value, texts[0].value);
  EXPECT_EQ(png.texts[1].key, "diffract");
  EXPECT_EQ(png.texts[1].value, texts[1].value);
}

TEST(Png, DecodesGreyAsRgbAndKeepsAlpha) {
  EXPECT_EQ(decode(encode_png(gradient(4, 4, 1))).image.channels, 3u);
  const auto alpha = gradient(4, 4, 4);
  EXPECT_EQ(decode(encode_png(alpha)).image.pixels, alpha.pixels);
}

TEST(Png, RefusesPicturesThatAreNotWhole) {
  const auto bytes = encode_png(gradient(16, 16), {{"parameters", "x"}});
  constexpr size_t kEndChunk = 12;  // without it all pixels are there, and libspng asks for no more
  for (size_t length = 0; length < bytes.size() - kEndChunk; ++length)
    EXPECT_THROW(decode_png(std::span(bytes).first(length), "x.png"), CheckpointError) << length;
  Image wrong = gradient(4, 4);
  wrong.pixels.pop_back();
  EXPECT_THROW(encode_png(wrong), InternalError);
}

TEST(Png, SurvivesEveryFlippedByte) {
  const auto sound = encode_png(gradient(8, 8), {{"parameters", "x"}});
  for (size_t i = 0; i < sound.size(); ++i) {
    auto flipped = sound;
    flipped[i] ^= std::byte{0x55};
    try {
      decode(flipped);
    } catch (const CheckpointError& error) {
      EXPECT_NE(std::string(error.what()).find("x.png"), std::string::npos);
    }
  }
}

TEST(Png, RefusesAPictureLargerThanAnyItWillMake) {
  auto bytes = encode_png(gradient(4, 4));
  bytes[16] = std::byte{0x7f};  // the width's highest byte; its checksum is wrong now too
  EXPECT_THROW(decode(bytes), CheckpointError);
}

// A chunk of the format: length, kind, bytes, checksum.
std::string chunk(const std::string& kind, const std::string& data) {
  const auto number = [](uint32_t n) {
    std::string bytes;
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(n >> shift);
    return bytes;
  };
  uint32_t crc = ~0u;
  for (const char c : kind + data) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
  }
  return number(static_cast<uint32_t>(data.size())) + kind + data + number(~crc);
}

TEST(Png, ReadsLatin1AndUtf8InTexts) {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> cases[] = {
      {chunk("tEXt", "note\0caf\xe9"s), "caf\u00e9"},
      {chunk("tEXt", "note\0na\xc3\xafve \xe7\x8c\xab"s), "na\u00efve \u732b"},
      {chunk("iTXt", "note\0\0\0\0\0\xe7\x8c\xab"s), "\u732b"}};
  const auto plain = encode_png(gradient(4, 4));
  for (const auto& [text, value] : cases) {
    constexpr size_t kBehindTheHeader = 33;
    auto bytes = plain;
    const auto own = std::as_bytes(std::span(text));
    bytes.insert(bytes.begin() + kBehindTheHeader, own.begin(), own.end());
    const Png png = decode(bytes);
    ASSERT_EQ(png.texts.size(), 1u) << value;
    EXPECT_EQ(png.texts[0].value, value);
  }
}

TEST(Png, IsNotSavedUnderAnotherFormatsName) {
  const test::TempFolder folder;
  for (const char* name : {"a.jpg", "a.webp", "a", "a.png.bak"}) {
    const auto message = test::error_of<UsageError>([&] { gradient(5, 5).save(folder / name); });
    EXPECT_NE(message.find(".png"), std::string::npos) << message;
    EXPECT_FALSE(std::filesystem::exists(folder / name));
  }
  gradient(5, 5).save(folder / "a.PNG");
  EXPECT_TRUE(std::filesystem::exists(folder / "a.PNG"));
}

TEST(Png, IsSavedWhole) {
  const test::TempFolder folder;
  gradient(5, 5).save(folder / "a.png");
  EXPECT_EQ(load_png(folder / "a.png").image.width, 5u);
  EXPECT_THROW(gradient(5, 5).save(folder / "none" / "a.png"), IoError);
}

}  // namespace
}  // namespace diffract::io
