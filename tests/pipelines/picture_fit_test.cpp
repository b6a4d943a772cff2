// Regions of masks, and putting what was drawn back: Pillow's and diffusers' values, small enough to write
// down. They were made with Pillow 13.0 and diffusers 0.42.1's VaeImageProcessor.
#include "diffract/pipelines/picture_fit.h"

#include <gtest/gtest.h>

#include <array>

#include "diffract/core/error.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

io::Image plain(uint32_t width, uint32_t height, uint8_t value) {
  return {
      .width = width, .height = height, .pixels = std::vector<uint8_t>(size_t{3} * width * height, value)};
}

// White in a rectangle.
io::Image mask_of(uint32_t width, uint32_t height, const io::Region& white) {
  io::Image mask = plain(width, height, 0);
  paste(mask, plain(static_cast<uint32_t>(white.width()), static_cast<uint32_t>(white.height()), 255),
        white.left, white.top);
  return mask;
}

struct RegionCase {
  uint32_t width, height;
  io::Region white;
  loading::ImageSize size;
  int64_t padding;
  io::Region expected;
};

TEST(RegionOfMask, IsDiffusers) {
  const RegionCase cases[] = {
      {38, 83, {34, 47, 36, 78}, {.height = 64, .width = 64}, 32, {0, 15, 38, 83}},
      {9, 68, {4, 29, 9, 42}, {.height = 40, .width = 48}, 32, {0, 0, 9, 68}},
      {78, 68, {50, 19, 71, 34}, {.height = 32, .width = 64}, 32, {0, 0, 78, 66}},
      {57, 9, {42, 1, 55, 4}, {.height = 64, .width = 64}, 4, {38, 0, 57, 9}},
      {11, 42, {7, 27, 11, 34}, {.height = 40, .width = 48}, 1, {1, 26, 11, 35}},
      {54, 20, {2, 15, 11, 17}, {.height = 96, .width = 40}, 8, {0, 0, 19, 20}},
      {88, 46, {53, 24, 86, 43}, {.height = 96, .width = 40}, 32, {21, 0, 88, 46}},
      {82, 60, {74, 57, 78, 59}, {.height = 64, .width = 64}, 4, {70, 48, 82, 60}},
      {85, 28, {41, 18, 76, 28}, {.height = 64, .width = 64}, 1, {40, 0, 77, 28}},
      {89, 81, {34, 15, 53, 24}, {.height = 40, .width = 48}, 8, {26, 5, 61, 34}},
      {19, 52, {2, 9, 16, 11}, {.height = 96, .width = 40}, 8, {0, 0, 19, 45}},
      {61, 23, {2, 19, 41, 20}, {.height = 40, .width = 48}, 32, {0, 0, 61, 23}},
      {50, 78, {17, 30, 50, 33}, {.height = 96, .width = 40}, 0, {17, 0, 50, 78}},
      {17, 21, {1, 13, 8, 18}, {.height = 96, .width = 40}, 1, {0, 0, 9, 21}},
      {13, 51, {5, 8, 11, 33}, {.height = 40, .width = 48}, 8, {0, 0, 13, 41}},
      {74, 57, {71, 39, 72, 56}, {.height = 96, .width = 40}, 8, {63, 31, 74, 57}},
      {89, 38, {38, 16, 66, 33}, {.height = 96, .width = 40}, 32, {6, 0, 89, 38}},
      {51, 9, {26, 5, 45, 6}, {.height = 40, .width = 48}, 32, {0, 0, 51, 9}},
      {83, 88, {17, 81, 25, 87}, {.height = 96, .width = 40}, 8, {9, 31, 33, 88}},
      {53, 53, {38, 17, 50, 49}, {.height = 64, .width = 64}, 32, {0, 0, 53, 53}},
      {15, 10, {5, 7, 10, 9}, {.height = 96, .width = 40}, 1, {4, 0, 11, 10}},
      {54, 31, {20, 27, 44, 30}, {.height = 96, .width = 40}, 8, {12, 0, 52, 31}},
      {21, 11, {18, 2, 21, 7}, {.height = 32, .width = 64}, 4, {0, 0, 21, 11}},
      {38, 49, {11, 27, 33, 48}, {.height = 64, .width = 64}, 0, {11, 27, 33, 49}},
  };
  for (const RegionCase& one : cases) {
    const auto found = region_of_mask(mask_of(one.width, one.height, one.white), one.size, one.padding);
    const auto numbers = [](const io::Region& r) { return std::array{r.left, r.top, r.right, r.bottom}; };
    EXPECT_EQ(numbers(found), numbers(one.expected));
  }
}

TEST(RegionOfMask, OfABlackMaskIsAnError) {
  EXPECT_THROW(region_of_mask(plain(8, 8, 0), {.height = 8, .width = 8}, 4), UsageError);
}

TEST(Overlaid, BlendsAsPillowDoes) {
  // Of each opacity one pixel, over a picture of 200 and a drawing of 90.
  io::Image mask{.width = 256, .height = 1, .channels = 1, .pixels = {}};
  for (int i = 0; i < 256; ++i) mask.pixels.push_back(static_cast<uint8_t>(i));
  const io::Image found =
      overlaid(plain(256, 1, 200), mask, plain(256, 1, 90), {.left = 0, .top = 0, .right = 256, .bottom = 1});
  const std::vector<int> expected = {
      200, 199, 198, 199, 198, 197, 196, 197, 197, 196, 195, 194, 195, 194, 193, 193, 192, 193, 192, 191,
      190, 191, 191, 190, 189, 188, 189, 188, 187, 187, 186, 187, 186, 185, 184, 185, 184, 184, 183, 182,
      183, 182, 181, 181, 180, 181, 180, 179, 178, 179, 178, 178, 177, 176, 177, 176, 175, 175, 175, 175,
      174, 173, 172, 173, 172, 171, 171, 170, 171, 170, 169, 169, 169, 169, 168, 167, 167, 167, 166, 165,
      165, 164, 165, 164, 163, 163, 163, 162, 162, 161, 161, 161, 160, 159, 159, 158, 159, 158, 157, 157,
      157, 156, 156, 155, 155, 155, 154, 153, 153, 153, 153, 152, 151, 151, 151, 150, 149, 149, 149, 149,
      148, 147, 147, 147, 147, 146, 145, 145, 145, 144, 143, 143, 143, 143, 142, 141, 141, 141, 140, 140,
      139, 139, 139, 138, 137, 137, 136, 137, 136, 135, 135, 135, 134, 134, 133, 132, 133, 132, 131, 131,
      131, 131, 130, 129, 129, 129, 128, 128, 127, 126, 127, 126, 125, 125, 125, 125, 124, 123, 123, 123,
      122, 122, 121, 120, 121, 120, 119, 119, 119, 118, 118, 117, 117, 117, 116, 116, 115, 114, 115, 114,
      114, 113, 113, 113, 112, 111, 111, 111, 110, 110, 109, 109, 109, 108, 108, 107, 107, 107, 106, 105,
      105, 105, 104, 104, 103, 103, 103, 102, 101, 101, 101, 100, 100, 99,  99,  99,  98,  98,  97,  97,
      97,  96,  95,  95,  95,  94,  94,  93,  93,  93,  92,  92,  91,  91,  91,  90};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(found.pixels[3 * i], expected[i]) << "mask " << i;
}

TEST(Overlaid, LeavesThePictureWhereTheMaskIsBlack) {
  const io::Image mask = mask_of(32, 24, {.left = 8, .top = 8, .right = 16, .bottom = 16});
  const io::Image found =
      overlaid(plain(32, 24, 77), mask, plain(64, 64, 210), {.left = 4, .top = 4, .right = 20, .bottom = 20});
  for (uint32_t y = 0; y < 24; ++y)
    for (uint32_t x = 0; x < 32; ++x)
      EXPECT_EQ(found.pixels[3 * (y * 32 + x)], x >= 8 && x < 16 && y >= 8 && y < 16 ? 210 : 77);
}

}  // namespace
}  // namespace diffract::pipelines
