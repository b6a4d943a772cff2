#include "tests/support/images.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace diffract::test {

int largest_pixel_difference(const io::Image& a, const io::Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  int worst = 0;
  for (size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i)
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return worst;
}

int largest_pixel_difference(const std::vector<io::Image>& a, const std::vector<io::Image>& b) {
  EXPECT_EQ(a.size(), b.size());
  int worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, largest_pixel_difference(a[i], b[i]));
  return worst;
}

}  // namespace diffract::test
