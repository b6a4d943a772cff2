#pragma once
#include "diffract/models/model_class.h"
#include "diffract/nn/meta_meter.h"
#include "diffract/tensor/dtype.h"

namespace diffract::models {

using nn::Cost;

/// What one call of the model that a config.json describes takes beside its weights, by running its code on
/// tensors without data: a denoiser's step, an encoder's texts, a VAE's decoding. Weights are kept in
/// `policy.storage` (unset: float32). Throws CheckpointError for what diffract does not build.
Cost forward_cost(const ConfigReader& config, const ForwardShape& shape, const tensor::DtypePolicy& policy);

}  // namespace diffract::models
