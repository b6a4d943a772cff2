#pragma once
#include "diffract/nn/activation.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/linear.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

/// Keys of a config.json that CLIP's text and vision encoders share.
struct CLIPLayerShape {
  int64_t hidden_size, intermediate_size, num_attention_heads;
  nn::Activation hidden_act;
  double layer_norm_eps;
  bool causal;  // a token sees itself and those before it, as texts are read
};

// B batch, T tokens, D hidden_size
/// One layer of CLIP's encoders: attention and an MLP, each behind a norm and with a residual. Source:
/// transformers modeling_clip.py, CLIPEncoderLayer.
class CLIPEncoderLayer {
 public:
  CLIPEncoderLayer(const WeightScope& w, const CLIPLayerShape& shape);
  Tensor operator()(const Tensor& x) const;  // [B, T, D] -> [B, T, D]

 private:
  nn::LayerNorm layer_norm1_, layer_norm2_;
  nn::Attention self_attn_;
  nn::Linear fc1_, fc2_;
  nn::Activation hidden_act_;
};

}  // namespace diffract::models
