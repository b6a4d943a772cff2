#pragma once
#include <vector>

#include "diffract/core/json.h"
#include "diffract/models/vae/autoencoder.h"
#include "diffract/nn/activation.h"
#include "diffract/nn/conv.h"
#include "diffract/nn/placed.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

/// Fields are the keys of config.json.
struct AutoencoderTinyConfig {
  int64_t in_channels = 3, out_channels = 3;
  int64_t latent_channels = 4;
  std::vector<int64_t> encoder_block_out_channels,
      decoder_block_out_channels;  // a level each, in their order
  std::vector<int64_t> num_encoder_blocks, num_decoder_blocks;
  nn::Activation act_fn = nn::Activation::relu;
  double scaling_factor = 1.0;

  /// Pixels a latent, each way.
  int64_t scale_factor() const { return int64_t{1} << (decoder_block_out_channels.size() - 1); }
  static AutoencoderTinyConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
};

/// Three convolutions with a residual. Source: diffusers unet_2d_blocks.py.
class AutoencoderTinyBlock {
 public:
  AutoencoderTinyBlock(const WeightScope& w, int64_t channels, nn::Activation act_fn);
  Tensor operator()(const Tensor& x) const;  // [B, C, H, W] -> the same

 private:
  nn::Conv2d conv_in_, conv_between_, conv_out_;
  nn::Activation act_fn_;
};

/// TAESD: a small VAE that stands in for a large one, quick and less exact. Its latents are those of the
/// loop, and no distribution. Source: diffusers autoencoder_tiny.py.
class AutoencoderTiny final : public Autoencoder {
 public:
  static constexpr const char* kClassName = "AutoencoderTiny";
  using Config = AutoencoderTinyConfig;

  AutoencoderTiny(const AutoencoderTinyConfig& config, const WeightScope& weights);

  LatentDistribution encode(const Tensor& pixels) const override;
  Tensor decode(const Tensor& latents) const override;
  Tensor unscaled(const Tensor& latents) const override { return latents / config_.scaling_factor; }
  Tensor scaled(const Tensor& latents) const override { return latents * config_.scaling_factor; }

  int64_t latent_channels() const override { return config_.latent_channels; }
  int64_t scale_factor() const override { return config_.scale_factor(); }
  double scaling_factor() const override { return config_.scaling_factor; }
  bool encodes_to_distribution() const override { return false; }
  const AutoencoderTinyConfig& config() const { return config_; }

 private:
  // A convolution, which the encoder has before its blocks and the decoder behind them.
  struct Level {
    nn::Placed<nn::Conv2d> conv;
    std::vector<nn::Placed<AutoencoderTinyBlock>> blocks;
  };
  void add_encoder(const WeightScope& layers);
  void add_decoder(const WeightScope& layers);

  AutoencoderTinyConfig config_;
  std::vector<Level> encoder_, decoder_;
  std::optional<nn::Placed<nn::Conv2d>> encoder_out_, decoder_in_;
  at::ScalarType arithmetic_;
};

}  // namespace diffract::models
