// Edges as OpenCV's cv2.Canny finds them (tools/make_control_cases.py).
#include "diffract/io/canny.h"

#include <gtest/gtest.h>

#include "diffract/io/picture.h"
#include "tests/support/temp_folder.h"

namespace diffract::io {
namespace {

Image expected(const std::string& name) { return load_image(test::data("canny/" + name).string()); }
Image input(const std::string& name) { return load_image(test::data("reference/inputs/" + name).string()); }

TEST(Canny, GivesTheEdgesOfOpenCV) {
  const auto check = [](const std::string& picture, CannyThresholds thresholds, const std::string& file) {
    const Image found = canny(input(picture), thresholds), wanted = expected(file);
    EXPECT_EQ(found.width, wanted.width) << file;
    EXPECT_EQ(found.channels, 3u);
    EXPECT_TRUE(found.pixels == wanted.pixels) << file;
  };
  check("photo.png", {}, "photo_100_200.png");
  check("large.png", {.low = 60, .high = 150}, "large_60_150.png");
  check("odd.png", {.low = 0, .high = 0}, "odd_0_0.png");
  check("rgb16.png", {.low = 400, .high = 40}, "rgb16_400_40.png");  // turned around
  check("palette.png", {.low = 20, .high = 500}, "palette_20_500.png");
}

TEST(Canny, TakesPicturesOfAnySize) {
  for (const auto& [width, height] : {std::pair(1u, 1u), std::pair(1u, 50u), std::pair(3u, 2u)}) {
    Image image{.width = width, .height = height, .channels = 1, .pixels = {}};
    image.pixels.resize(size_t{width} * height, 77);
    const Image edges = canny(image, {.low = 0, .high = 0});
    EXPECT_EQ(edges.pixels, std::vector<uint8_t>(size_t{3} * width * height));
  }
}

}  // namespace
}  // namespace diffract::io
