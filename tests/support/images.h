#pragma once
#include <vector>

#include "diffract/io/png.h"

namespace diffract::test {

/// Largest difference of two pictures' 8-bit values; fails the test where their sizes differ.
int largest_pixel_difference(const io::Image& a, const io::Image& b);
int largest_pixel_difference(const std::vector<io::Image>& a, const std::vector<io::Image>& b);

}  // namespace diffract::test
