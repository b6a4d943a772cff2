#include "diffract/pipelines/clip_image_processor.h"

#include <algorithm>
#include <cstring>

#include "diffract/core/error.h"
#include "diffract/io/picture.h"
#include "diffract/io/pixels.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kMostSide = 4096;

// {"height": 224, "width": 224}, or one number for both.
loading::ImageSize size_in(const ConfigReader& config, const char* key, const loading::ImageSize& fallback) {
  if (!config.has(key)) return fallback;
  if (!config.json()[key].is_object()) {
    const int64_t side = config.integer(key, 1, kMostSide);
    return {.height = side, .width = side};
  }
  const ConfigReader size(config.json()[key], config.source());
  return {.height = size.integer("height", 1, kMostSide), .width = size.integer("width", 1, kMostSide)};
}

std::array<double, 3> colours(const ConfigReader& config, const char* key,
                              const std::array<double, 3>& fallback, double low) {
  if (!config.has(key)) return fallback;
  const auto list = config.numbers(key);
  if (list.size() != 3 ||
      std::any_of(list.begin(), list.end(), [&](double x) { return !(x >= low && x <= 1000); }))
    throw CheckpointError("{}: \"{}\" is {}; expected three numbers from {} to 1000", config.source(), key,
                          excerpt(config.json()[key]), low);
  return {list[0], list[1], list[2]};
}

io::Filter filter_in(const ConfigReader& config) {
  constexpr int64_t kLanczos = 1, kBicubic = 3;  // Pillow's numbers
  const int64_t number = config.integer("resample", 0, 5, kBicubic);
  if (number != kLanczos && number != kBicubic)
    throw CheckpointError("{}: \"resample\" is {}; expected {} (bicubic), or {} (Lanczos)", config.source(),
                          number, kBicubic, kLanczos);
  return number == kLanczos ? io::Filter::lanczos : io::Filter::bicubic;
}

// Half of a difference, rounded down where it is negative too.
int64_t half(int64_t difference) { return difference >= 0 ? difference / 2 : -((1 - difference) / 2); }

at::Tensor channels(const std::array<double, 3>& values) {
  return at::tensor({values[0], values[1], values[2]}, at::kFloat).view({3, 1, 1});
}

}  // namespace

CLIPImageProcessorConfig CLIPImageProcessorConfig::from_json(const ConfigReader& config) {
  constexpr double kLeastDeviation = 1e-6;
  CLIPImageProcessorConfig c;
  c.do_resize = config.boolean("do_resize", true);
  c.do_center_crop = config.boolean("do_center_crop", true);
  c.do_rescale = config.boolean("do_rescale", true);
  c.do_normalize = config.boolean("do_normalize", true);
  if (config.has("size")) {
    const Json& size = config.json()["size"];
    if (size.is_object() && !size.contains("shortest_edge")) {
      c.shortest_edge.reset();
      c.size = size_in(config, "size", {});
    } else {
      c.shortest_edge = size.is_object()
                            ? ConfigReader(size, config.source()).integer("shortest_edge", 1, kMostSide)
                            : config.integer("size", 1, kMostSide);
    }
  }
  c.crop_size = size_in(config, "crop_size", c.crop_size);
  c.resample = filter_in(config);
  c.rescale_factor = config.number("rescale_factor", 0, 1000, c.rescale_factor);
  c.image_mean = colours(config, "image_mean", c.image_mean, -1000);
  c.image_std = colours(config, "image_std", c.image_std, kLeastDeviation);
  return c;
}

CLIPImageProcessorConfig CLIPImageProcessorConfig::for_side(int64_t side) {
  CLIPImageProcessorConfig c;
  c.shortest_edge = side;
  c.crop_size = {.height = side, .width = side};
  return c;
}

io::Image CLIPImageProcessor::fitted(const io::Image& image) const {
  const int64_t width = image.width, height = image.height;
  io::Image out = image;
  if (config_.do_resize) {
    loading::ImageSize size = config_.size;
    if (config_.shortest_edge) {
      const int64_t shorter = *config_.shortest_edge;
      const bool is_upright = width <= height;
      const int64_t longer = shorter * (is_upright ? height : width) / (is_upright ? width : height);
      size = {.height = is_upright ? longer : shorter, .width = is_upright ? shorter : longer};
    }
    io::check_picture_size(static_cast<uint64_t>(size.width), static_cast<uint64_t>(size.height),
                           fmt::format("a picture of {}x{} pixels, made {} pixels wide or high", width,
                                       height, std::min(size.width, size.height)));
    out = io::resize(image, static_cast<uint32_t>(size.width), static_cast<uint32_t>(size.height),
                     config_.resample);
  }
  if (!config_.do_center_crop) return out;
  const int64_t left = half(int64_t{out.width} - config_.crop_size.width),
                top = half(int64_t{out.height} - config_.crop_size.height);
  return io::cropped(out, {.left = left,
                           .top = top,
                           .right = left + config_.crop_size.width,
                           .bottom = top + config_.crop_size.height});
}

void CLIPImageProcessor::require_side(int64_t side, const char* component) const {
  const auto& size = config_.do_center_crop ? config_.crop_size : config_.size;
  const bool is_known = config_.do_center_crop || !config_.shortest_edge;
  if (!is_known || size.height != side || size.width != side)
    throw CheckpointError(
        "feature_extractor: its pictures have {}; the {} takes {}x{} pixels (\"image_size\")",
        is_known ? fmt::format("{}x{} pixels (\"crop_size\")", size.width, size.height)
                 : "their own proportions (\"do_center_crop\" is false)",
        component, side, side);
}

at::Tensor CLIPImageProcessor::preprocess(const std::vector<io::Image>& images) const {
  if (images.empty()) throw UsageError("image processor: no pictures given");
  std::vector<at::Tensor> batch;
  for (const io::Image& one : images) {
    const io::Image image = fitted(io::as_rgb(one));
    const at::Tensor bytes = at::empty({int64_t{image.height}, int64_t{image.width}, 3}, at::kByte);
    std::memcpy(bytes.data_ptr(), image.pixels.data(), image.pixels.size());
    batch.push_back(bytes.permute({2, 0, 1}));
    if (batch.back().sizes() != batch.front().sizes())
      throw UsageError("image processor: pictures become {}x{} and {}x{} pixels, and are not cropped",
                       batch.front().size(2), batch.front().size(1), image.width, image.height);
  }
  at::Tensor pixels = at::stack(batch);
  // As numpy does it: scaled in float64, normalised in float32.
  if (config_.do_rescale) pixels = pixels.to(at::kDouble) * config_.rescale_factor;
  pixels = pixels.to(at::kFloat);
  return config_.do_normalize ? (pixels - channels(config_.image_mean)) / channels(config_.image_std)
                              : pixels;
}

}  // namespace diffract::pipelines
