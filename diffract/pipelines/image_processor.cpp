#include "diffract/pipelines/image_processor.h"

#include <cstring>

#include "diffract/core/error.h"
#include "diffract/io/pixels.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {

// [B, channels, H, W]
at::Tensor VaeImageProcessor::bytes_of(const std::vector<io::Image>& images, uint32_t channels) const {
  if (images.empty()) throw UsageError("image processor: no pictures given");
  std::vector<at::Tensor> batch;
  for (const io::Image& image : images) {
    const auto height = static_cast<int64_t>(image.height), width = static_cast<int64_t>(image.width);
    if (image.channels != channels || height % vae_scale_factor_ != 0 || width % vae_scale_factor_ != 0 ||
        image.height != images[0].height || image.width != images[0].width)
      throw UsageError(
          "image processor: a picture is {}x{} with {} channels; expected {} channels, all of one size, "
          "height and width multiples of {}",
          image.height, image.width, image.channels, channels, vae_scale_factor_);
    const at::Tensor pixels = at::empty({height, width, int64_t{channels}}, at::kByte);
    std::memcpy(pixels.data_ptr(), image.pixels.data(), image.pixels.size());
    batch.push_back(pixels.permute({2, 0, 1}));
  }
  return at::stack(batch);
}

at::Tensor VaeImageProcessor::preprocess(const std::vector<io::Image>& images) const {
  return bytes_of(images, 3).to(at::kFloat) / 255.0 * 2.0 - 1.0;
}

at::Tensor VaeImageProcessor::preprocess_mask(const std::vector<io::Image>& masks) const {
  constexpr int64_t kHalf = 128;  // of 255, rounded up: 127 is black
  std::vector<io::Image> grey;
  grey.reserve(masks.size());
  for (const io::Image& mask : masks) grey.push_back(io::as_grey(mask));
  return (bytes_of(grey, 1) >= kHalf).to(at::kFloat);
}

std::vector<io::Image> VaeImageProcessor::postprocess(const at::Tensor& pixels) const {
  if (pixels.dim() != 4 || pixels.size(1) != 3)
    throw UsageError("image processor: pixels have shape {}; expected [batch, 3, height, width]",
                     c10::str(pixels.sizes()));
  const at::Tensor values = pixels.to(at::kCPU, at::kFloat);
  if (!at::isfinite(values).all().item<bool>())  // it would be a black picture
    throw CheckpointError("vae: decoding gave values that are not finite. {}", why_not_finite(policy_));
  at::Tensor unit = values / 2;  // the one copy, as pixels may fill memory
  unit.add_(0.5).clamp_(0, 1).mul_(255).round_();
  const at::Tensor bytes = unit.to(at::kByte).permute({0, 2, 3, 1}).contiguous();  // [B, H, W, 3]
  std::vector<io::Image> images;
  for (const at::Tensor& one : bytes.unbind(0)) {
    const auto* begin = one.const_data_ptr<uint8_t>();
    io::Image image;
    image.height = static_cast<decltype(image.height)>(one.size(0));
    image.width = static_cast<decltype(image.width)>(one.size(1));
    image.channels = 3;
    image.pixels.assign(begin, begin + one.numel());
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace diffract::pipelines
