#include "diffract/io/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace diffract::io {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;

double bicubic(double x) {
  constexpr double kSharpness = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kSharpness + 2) * x - (kSharpness + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kSharpness;
  return 0;
}

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

// Which pixels of a line make one pixel of the new line, and with which weights.
struct Window {
  uint32_t begin;
  std::vector<int32_t> weights;  // in units of 2^-kFractionBits
};

Window window_at(double center, double stretch, uint32_t size, Filter filter) {
  const double support = (filter == Filter::bicubic ? 2.0 : 3.0) * stretch;
  // Truncated and not rounded where they are below zero, as Pillow does it.
  const double first = center - support + 0.5, last = center + support + 0.5;
  const auto begin = std::max(static_cast<int64_t>(first), int64_t{0});
  const auto end = std::min(static_cast<int64_t>(last), int64_t{size});
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    const double x = (static_cast<double>(i) - center + 0.5) * (1.0 / stretch);
    weights.push_back(filter == Filter::bicubic ? bicubic(x) : lanczos(x));
    sum += weights.back();
  }
  Window window{.begin = static_cast<uint32_t>(begin), .weights = {}};
  for (const double weight : weights) {
    const double share = sum != 0 ? weight / sum : weight;
    window.weights.push_back(
        static_cast<int32_t>((share < 0 ? -0.5 : 0.5) + share * static_cast<double>(1 << kFractionBits)));
  }
  return window;
}

std::vector<Window> windows(uint32_t from, float begin, float end, uint32_t to, Filter filter) {
  const double scale = static_cast<double>(end - begin) / to;
  const double stretch = std::max(scale, 1.0);  // a reduction averages over as many pixels
  std::vector<Window> all;
  all.reserve(to);
  for (uint32_t i = 0; i < to; ++i)
    all.push_back(window_at(begin + (i + 0.5) * scale, stretch, from, filter));
  return all;
}

// The sum over a window of pixels that lie `stride` bytes apart.
uint8_t weighted(const Window& window, const uint8_t* first, size_t stride) {
  int32_t sum = 1 << (kFractionBits - 1);
  for (const int32_t weight : window.weights) {
    sum += *first * weight;
    first += stride;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

Image across(const Image& image, uint32_t width, const std::vector<Window>& windows) {
  Image out{.width = width, .height = image.height, .channels = image.channels, .pixels = {}};
  out.pixels.resize(size_t{width} * image.height * image.channels);
  uint8_t* to = out.pixels.data();
  for (uint32_t y = 0; y < image.height; ++y)
    for (const Window& window : windows)
      for (uint32_t c = 0; c < image.channels; ++c)
        *to++ = weighted(window,
                         image.pixels.data() + (size_t{y} * image.width + window.begin) * image.channels + c,
                         image.channels);
  return out;
}

Image down(const Image& image, uint32_t height, const std::vector<Window>& windows) {
  Image out{.width = image.width, .height = height, .channels = image.channels, .pixels = {}};
  const size_t row = size_t{image.width} * image.channels;
  out.pixels.resize(row * height);
  uint8_t* to = out.pixels.data();
  for (const Window& window : windows)
    for (size_t x = 0; x < row; ++x)
      *to++ = weighted(window, image.pixels.data() + window.begin * row + x, row);
  return out;
}

}  // namespace

Image resize(const Image& image, uint32_t width, uint32_t height, Filter filter, const Box& box) {
  const auto resize_across = [&](const Image& of) {
    if (width == of.width && box.left == 0 && box.right == static_cast<float>(of.width)) return of;
    return across(of, width, windows(of.width, box.left, box.right, width, filter));
  };
  const auto resize_down = [&](const Image& of) {
    if (height == of.height && box.top == 0 && box.bottom == static_cast<float>(of.height)) return of;
    return down(of, height, windows(of.height, box.top, box.bottom, height, filter));
  };
  // Found by asking Pillow 13 for thousands of sizes; the order shows in the last bit.
  const int64_t lost_rows = int64_t{image.height} - height, lost_columns = int64_t{image.width} - width;
  const bool down_first = lost_rows > 0 && lost_rows > 2 * lost_columns;
  return down_first ? resize_across(resize_down(image)) : resize_down(resize_across(image));
}

Image resize(const Image& image, uint32_t width, uint32_t height, Filter filter) {
  return resize(image, width, height, filter,
                {.left = 0,
                 .top = 0,
                 .right = static_cast<float>(image.width),
                 .bottom = static_cast<float>(image.height)});
}

}  // namespace diffract::io
