#pragma once
#include "diffract/nn/activation.h"
#include "diffract/nn/linear.h"
#include "diffract/nn/placed.h"

namespace diffract::nn {

struct SinusoidShape {
  int64_t width;                 // of the embedding, even
  bool flip_sin_to_cos = false;  // cosines first
  double frequency_shift = 1.0;  // diffusers' freq_shift
};

/// Sinusoidal embedding [B, width] of `timesteps` [B], float32. Source: Vaswani et al. 2017 section 3.5, in
/// the form of diffusers get_timestep_embedding (period up to 10,000).
Tensor sinusoidal_embedding(const Tensor& timesteps, const SinusoidShape& shape);

/// Two linear layers with an activation between: the time embedding [B, out] of a sinusoid [B, in].
class TimestepEmbedding {
 public:
  TimestepEmbedding(const WeightScope& w, int64_t in, int64_t out, Activation activation = Activation::silu);
  Tensor operator()(const Tensor& sinusoid) const;

 private:
  Placed<Linear> linear_1_, linear_2_;
  Activation activation_;
};

}  // namespace diffract::nn
