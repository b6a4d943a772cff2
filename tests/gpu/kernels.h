// What the tests of kernels share: random tensors, errors, and their bounds.
#pragma once
#include <cmath>

#include "tests/gpu/gpu.h"

namespace diffract::kernels {

using at::Tensor;
using test::Gpu;

inline constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

// Largest difference over the largest value; a value that is not a number never passes.
inline double error(const Tensor& found, const Tensor& wanted) {
  EXPECT_EQ(found.sizes(), wanted.sizes());
  if (found.sizes() != wanted.sizes()) return INFINITY;
  const Tensor exact = wanted.to(at::kCPU, at::kDouble);
  const double off = (found.to(at::kCPU, at::kDouble) - exact).abs().max().item<double>();
  return off == off ? off / exact.abs().max().item<double>() : INFINITY;
}

// One rounding of the result, and the sums' own in float32.
inline double bound(at::ScalarType type) {
  return type == at::kFloat ? 2e-6 : type == at::kHalf ? 1e-3 : 8e-3;
}

inline Tensor wide(const Tensor& x) { return x.defined() ? x.to(at::kDouble) : x; }

class Kernels : public Gpu {
 protected:
  static Tensor random(at::IntArrayRef shape, at::ScalarType type) { return at::randn(shape, on_gpu(type)); }
};

}  // namespace diffract::kernels
