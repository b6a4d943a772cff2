#pragma once
#include "diffract/core/json.h"
#include "diffract/nn/meta_meter.h"
#include "diffract/tensor/dtype.h"

namespace diffract::models {

using nn::Cost;

/// What a model is run on, as far as memory and time depend on it.
struct ForwardShape {
  int64_t batch = 1;                  // images; twice as many with guidance
  int64_t height = 512, width = 512;  // pixels
  int64_t text_tokens = 77;
  int64_t vae_scale_factor = 8;  // pixels a latent each way
  int64_t steps = 1;             // of the walk; FLUX keeps the modulations of several at once
};

/// What one call of the model that a config.json describes takes beside its weights, by running its code on
/// tensors without data: a denoiser's step, an encoder's texts, a VAE's decoding. Weights are kept in
/// `policy.storage` (unset: float32). Throws CheckpointError for what diffract does not build.
Cost forward_cost(const ConfigReader& config, const ForwardShape& shape, const tensor::DtypePolicy& policy);

}  // namespace diffract::models
