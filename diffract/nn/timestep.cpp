#include "diffract/nn/timestep.h"

#include <cmath>

namespace diffract::nn {

Tensor sinusoidal_embedding(const Tensor& timesteps, const SinusoidShape& shape) {
  const int64_t half = shape.width / 2;
  const Tensor exponent = at::arange(half, timesteps.options().dtype(at::kFloat)) *
                          (-std::log(10000.0) / (static_cast<double>(half) - shape.frequency_shift));
  const Tensor angles = timesteps.to(at::kFloat).unsqueeze(1) * exponent.exp().unsqueeze(0);  // [B, half]
  return shape.flip_sin_to_cos ? at::cat({angles.cos(), angles.sin()}, 1)
                               : at::cat({angles.sin(), angles.cos()}, 1);
}

TimestepEmbedding::TimestepEmbedding(const WeightScope& w, int64_t in, int64_t out, Activation activation)
    : linear_1_(w / "linear_1", in, out), linear_2_(w / "linear_2", out, out), activation_(activation) {}

Tensor TimestepEmbedding::operator()(const Tensor& sinusoid) const {
  return linear_2_(activate(activation_, linear_1_(sinusoid)));
}

}  // namespace diffract::nn
