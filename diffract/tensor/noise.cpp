#include "diffract/tensor/noise.h"

#include <ATen/CPUGeneratorImpl.h>

namespace diffract::tensor {

SeededNoise::SeededNoise(const std::vector<uint64_t>& seeds, std::vector<int64_t> image_shape)
    : shape_(std::move(image_shape)) {
  shape_.insert(shape_.begin(), 1);
  for (const uint64_t seed : seeds) generators_.push_back(at::detail::createCPUGenerator(seed));
}

at::Tensor SeededNoise::draw(at::ScalarType dtype) {
  std::vector<at::Tensor> images;
  images.reserve(generators_.size());
  for (const at::Generator& generator : generators_)
    images.push_back(at::randn(shape_, generator, dtype).to(at::kFloat));
  return at::cat(images);
}

}  // namespace diffract::tensor
