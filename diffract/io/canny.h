#pragma once
#include "diffract/io/image.h"

namespace diffract::io {

/// How strong an edge must be: gradients above `high` are edges, and those above `low` where they touch one.
/// Of gradients of 3x3 Sobel, |dx| + |dy|, at most 2040.
struct CannyThresholds {
  int low = 100, high = 200;
};

/// The edges of an 8-bit picture, white on black, as RGB of its size: those of OpenCV's cv2.Canny(picture,
/// low, high), to the last bit. Of several channels the one with the strongest gradient counts. Source: Canny
/// 1986; OpenCV's canny.cpp.
Image canny(const Image& image, CannyThresholds thresholds);

}  // namespace diffract::io
