#pragma once
#include <optional>
#include <unordered_map>
#include <vector>

#include "diffract/models/shared/resnet_2d.h"
#include "diffract/models/unet/transformer_2d.h"
#include "diffract/models/unet/unet_2d_config.h"

namespace diffract::models {

using PlacedResnet = nn::Placed<ResnetBlock2D>;

/// What resnet blocks make of the time embedding, all in one launch: a few rows by many small matrices, each
/// of which would take the time of a launch. Nothing where that is no gain: on a CPU, for blocks that are
/// kept elsewhere or on another device.
class TimeProjections {
 public:
  TimeProjections() = default;
  TimeProjections(const Tensor& temb, const std::vector<const PlacedResnet*>& resnets);
  /// [B, out] or undefined.
  Tensor of(const PlacedResnet& resnet) const;

 private:
  std::unordered_map<const PlacedResnet*, Tensor> projected_;
};

/// What every block of the UNet is told besides the feature map.
struct UNetConditioning {
  Tensor temb;  // [B, time_embed_dim], already activated: each resnet block starts with that activation
  Attended text;
  TimeProjections time = {};
};

/// One level on the way down: resnet blocks, each followed by a transformer in a CrossAttnDownBlock2D, then a
/// downsampler except at the coarsest level.
class UNetDownBlock {
 public:
  UNetDownBlock(const WeightScope& w, const UNet2DConditionConfig& config, size_t level);
  /// Appends each intermediate feature map to `skips` for the way up.
  Tensor operator()(Tensor x, const UNetConditioning& cond, std::vector<Tensor>& skips) const;
  const std::vector<PlacedResnet>& resnets() const { return resnets_; }

 private:
  std::vector<PlacedResnet> resnets_;
  std::vector<Transformer2DModel> attentions_;  // none in a DownBlock2D
  std::optional<nn::Placed<Downsample2D>> downsampler_;
};

/// The coarsest features: resnet, transformer, resnet (diffusers UNetMidBlock2DCrossAttn), or one resnet
/// alone (UNetMidBlock2D as a UNet has it).
class UNetMidBlock {
 public:
  UNetMidBlock(const WeightScope& w, const UNet2DConditionConfig& config);
  Tensor operator()(Tensor x, const UNetConditioning& cond) const;
  std::vector<const PlacedResnet*> resnets() const;

 private:
  PlacedResnet resnet_in_;
  std::optional<Transformer2DModel> attention_;
  std::optional<PlacedResnet> resnet_out_;
};

/// One level on the way up: resnet blocks over the features joined with a skip each, transformers in a
/// CrossAttnUpBlock2D, then an upsampler except at the finest level.
class UNetUpBlock {
 public:
  /// `level` counts from the finest, as in block_out_channels; `w` is the up block's own scope.
  UNetUpBlock(const WeightScope& w, const UNet2DConditionConfig& config, size_t level);
  /// Takes its skips from the end of `skips`. The upsampled map gets the size of the skip that comes next.
  Tensor operator()(Tensor x, const UNetConditioning& cond, std::vector<Tensor>& skips) const;
  const std::vector<PlacedResnet>& resnets() const { return resnets_; }

 private:
  std::vector<PlacedResnet> resnets_;
  std::vector<Transformer2DModel> attentions_;  // none in an UpBlock2D
  std::optional<nn::Placed<Upsample2D>> upsampler_;
};

}  // namespace diffract::models
