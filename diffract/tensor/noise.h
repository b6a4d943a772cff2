#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace diffract::tensor {

/// Standard normal noise for a batch in which each image has its own generator, as diffusers draws it from a
/// list of `torch.Generator("cpu").manual_seed(seed)`: an image's numbers do not depend on what it is batched
/// with. Source: diffusers torch_utils.randn_tensor.
class SeededNoise {
 public:
  /// `image_shape` is one image's shape without the batch, e.g. {4, 64, 64}.
  SeededNoise(const std::vector<uint64_t>& seeds, std::vector<int64_t> image_shape);

  /// The next draw: float32 [B, *image_shape] on the CPU. torch's generator gives other numbers in each
  /// `dtype`.
  at::Tensor draw(at::ScalarType dtype = at::kFloat);

 private:
  std::vector<at::Generator> generators_;
  std::vector<int64_t> shape_;  // of one image as a batch of one
};

}  // namespace diffract::tensor
