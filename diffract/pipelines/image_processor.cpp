#include "diffract/pipelines/image_processor.h"

#include <cstring>
#include <memory>

#include "diffract/core/error.h"
#include "diffract/io/pixels.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::pipelines {
namespace {

// float32 [B, 3, H, W] to uint8 [B, H, W, 3].
at::Tensor to_bytes(const at::Tensor& values) {
  at::Tensor unit = values / 2;  // the one copy, as pixels may fill memory
  unit.add_(0.5).clamp_(0, 1).mul_(255).round_();
  return unit.to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

// Of bytes [B, H, W, 3] on the CPU.
std::vector<io::Image> images_of(const at::Tensor& bytes) {
  const int64_t height = bytes.size(1), width = bytes.size(2), size = height * width * 3;
  std::vector<io::Image> images;
  for (int64_t i = 0; i < bytes.size(0); ++i) {
    const uint8_t* begin = bytes.const_data_ptr<uint8_t>() + i * size;
    io::Image image;
    image.height = static_cast<decltype(image.height)>(height);
    image.width = static_cast<decltype(image.width)>(width);
    image.channels = 3;
    image.pixels.assign(begin, begin + size);
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace

ArrivingImages arrived(std::vector<io::Image> images) {
  return [there = std::make_shared<std::vector<io::Image>>(std::move(images))] { return std::move(*there); };
}

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
  return preprocess_control(images) * 2.0 - 1.0;
}

at::Tensor VaeImageProcessor::preprocess_control(const std::vector<io::Image>& images) const {
  return bytes_of(images, 3).to(at::kFloat) / 255.0;
}

at::Tensor VaeImageProcessor::preprocess_mask(const std::vector<io::Image>& masks) const {
  constexpr int64_t kHalf = 128;  // of 255, rounded up: 127 is black
  std::vector<io::Image> grey;
  grey.reserve(masks.size());
  for (const io::Image& mask : masks) grey.push_back(io::as_grey(mask));
  return (bytes_of(grey, 1) >= kHalf).to(at::kFloat);
}

ArrivingImages VaeImageProcessor::begin_postprocess(const at::Tensor& pixels) const {
  if (pixels.dim() != 4 || pixels.size(1) != 3)
    throw UsageError("image processor: pixels have shape {}; expected [batch, 3, height, width]",
                     c10::str(pixels.sizes()));
  // The operations round alike on a CPU and a GPU, which has less to send so.
  const at::Tensor values = pixels.to(pixels.is_cuda() ? pixels.device() : at::kCPU, at::kFloat);
  const at::Tensor finite = tensor::keep_on_host(at::isfinite(values).all()),
                   bytes = tensor::keep_on_host(to_bytes(values));
  const auto sent = pixels.is_cuda()
                        ? tensor::backend_of(pixels.device()).record_compute(pixels.device().index())
                        : nullptr;
  const auto arrive = [finite, bytes, sent, policy = policy_] {
    if (sent) sent->synchronize();
    if (!finite.item<bool>())  // it would be a black picture
      throw CheckpointError("vae: decoding gave values that are not finite. {}", why_not_finite(policy));
    return images_of(bytes);
  };
  return sent ? ArrivingImages(arrive) : arrived(arrive());
}

}  // namespace diffract::pipelines
