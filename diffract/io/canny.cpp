#include "diffract/io/canny.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace diffract::io {
namespace {

struct Gradient {
  int16_t dx = 0, dy = 0;  // to 1020
  int size() const { return std::abs(dx) + std::abs(dy); }
};

enum class Mark : uint8_t { none, weak, edge };

class Edges {
 public:
  Edges(const Image& image, CannyThresholds thresholds)
      : image_(image),
        width_(image.width),
        height_(image.height),
        low_(std::min(thresholds.low, thresholds.high)),
        high_(std::max(thresholds.low, thresholds.high)),
        gradients_(size_t{image.width} * image.height),
        marks_(gradients_.size(), Mark::none) {
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t x = 0; x < width_; ++x) gradients_[at(x, y)] = gradient(x, y);
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t x = 0; x < width_; ++x)
        if (is_crest(x, y)) mark(x, y);
    spread();
  }

  bool is_edge(size_t pixel) const { return marks_[pixel] == Mark::edge; }

 private:
  size_t at(int64_t x, int64_t y) const { return static_cast<size_t>(y * width_ + x); }
  bool is_inside(int64_t x, int64_t y) const { return x >= 0 && y >= 0 && x < width_ && y < height_; }
  int size_at(int64_t x, int64_t y) const { return is_inside(x, y) ? gradients_[at(x, y)].size() : 0; }

  // The picture's edge goes on beyond it.
  int value(int64_t x, int64_t y, uint32_t channel) const {
    const size_t pixel = at(std::clamp<int64_t>(x, 0, width_ - 1), std::clamp<int64_t>(y, 0, height_ - 1));
    return image_.pixels[pixel * image_.channels + channel];
  }
  Gradient gradient(int64_t x, int64_t y) const {
    Gradient strongest;
    for (uint32_t c = 0; c < image_.channels; ++c) {
      const auto v = [&](int dx, int dy) { return value(x + dx, y + dy, c); };
      const int dx = v(1, -1) + 2 * v(1, 0) + v(1, 1) - v(-1, -1) - 2 * v(-1, 0) - v(-1, 1),
                dy = v(-1, 1) + 2 * v(0, 1) + v(1, 1) - v(-1, -1) - 2 * v(0, -1) - v(1, -1);
      const Gradient one{.dx = static_cast<int16_t>(dx), .dy = static_cast<int16_t>(dy)};
      if (one.size() > strongest.size()) strongest = one;
    }
    return strongest;
  }

  // Whether a gradient is larger than those before and behind it, in its direction: one of four, told apart
  // by the tangent of 22.5 degrees in 15 bits.
  bool is_crest(int64_t x, int64_t y) const {
    constexpr int64_t kTangent = 13573, kBits = 15;
    const Gradient& own = gradients_[at(x, y)];
    const int size = own.size();
    if (size <= low_) return false;
    const int64_t across = std::abs(own.dx), down = static_cast<int64_t>(std::abs(own.dy)) << kBits;
    if (down < across * kTangent) return size > size_at(x - 1, y) && size >= size_at(x + 1, y);
    if (down > across * kTangent + (across << (kBits + 1)))
      return size > size_at(x, y - 1) && size >= size_at(x, y + 1);
    const int64_t side = (own.dx < 0) != (own.dy < 0) ? -1 : 1;
    return size > size_at(x - side, y - 1) && size > size_at(x + side, y + 1);
  }

  void mark(int64_t x, int64_t y) {
    const bool is_strong = gradients_[at(x, y)].size() > high_;
    marks_[at(x, y)] = is_strong ? Mark::edge : Mark::weak;
    if (is_strong) found_.push_back({x, y});
  }
  // From edges to the weak ones beside them.
  void spread() {
    while (!found_.empty()) {
      const auto [x, y] = found_.back();
      found_.pop_back();
      for (int64_t j = y - 1; j <= y + 1; ++j)
        for (int64_t i = x - 1; i <= x + 1; ++i) {
          if (!is_inside(i, j) || marks_[at(i, j)] != Mark::weak) continue;
          marks_[at(i, j)] = Mark::edge;
          found_.push_back({i, j});
        }
    }
  }

  struct Point {
    int64_t x, y;
  };
  const Image& image_;
  int64_t width_, height_;
  int low_, high_;
  std::vector<Gradient> gradients_;
  std::vector<Mark> marks_;
  std::vector<Point> found_;  // edges whose neighbours were not looked at
};

}  // namespace

Image canny(const Image& image, CannyThresholds thresholds) {
  const Edges edges(image, thresholds);
  Image drawn{.width = image.width, .height = image.height, .channels = 3, .pixels = {}};
  drawn.pixels.resize(size_t{3} * image.width * image.height);
  for (size_t i = 0; i < drawn.pixels.size(); ++i) drawn.pixels[i] = edges.is_edge(i / 3) ? 255 : 0;
  return drawn;
}

}  // namespace diffract::io
