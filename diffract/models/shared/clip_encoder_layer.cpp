#include "diffract/models/shared/clip_encoder_layer.h"

namespace diffract::models {

CLIPEncoderLayer::CLIPEncoderLayer(const WeightScope& w, const CLIPLayerShape& s)
    : layer_norm1_(w / "layer_norm1", s.hidden_size, s.layer_norm_eps),
      layer_norm2_(w / "layer_norm2", s.hidden_size, s.layer_norm_eps),
      self_attn_(w / "self_attn", {.query = s.hidden_size, .context = s.hidden_size, .inner = s.hidden_size},
                 {.heads = s.num_attention_heads, .causal = s.causal}, nn::Bias::yes,
                 {.q = "q_proj", .k = "k_proj", .v = "v_proj", .out = "out_proj"}),
      fc1_(w / "mlp" / "fc1", s.hidden_size, s.intermediate_size),
      fc2_(w / "mlp" / "fc2", s.intermediate_size, s.hidden_size),
      hidden_act_(s.hidden_act) {}

Tensor CLIPEncoderLayer::operator()(const Tensor& input) const {
  const Tensor normed = layer_norm1_(input);
  const Tensor x = self_attn_(normed, normed, input);
  return fc2_(nn::activate(hidden_act_, fc1_(layer_norm2_(x))), {.residual = x});
}

}  // namespace diffract::models
