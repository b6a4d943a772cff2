#pragma once
#include <optional>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/nn/attention.h"
#include "diffract/nn/block_list.h"
#include "diffract/nn/norm.h"

namespace diffract::models {

using at::Tensor;
using weights::WeightScope;

/// What an IP-Adapter makes tokens with, as its file's tensors tell. Names are those of diffusers' classes.
struct ImageProjectionConfig {
  int64_t image_embed_dim;        // of what the picture encoder gives
  int64_t cross_attention_dim;    // of a token
  int64_t num_image_text_embeds;  // tokens a picture
  // Of IP-Adapter Plus, whose tokens look at the states of all patches; depth 0: the basic form.
  int64_t depth = 0, hidden_dim = 0, inner_dim = 0, feed_forward_dim = 0;

  bool reads_hidden_states() const { return depth > 0; }
  static ImageProjectionConfig from_json(const ConfigReader& config);  // CheckpointError names the bad key
  Json to_json() const;
};

// N pictures, E image_embed_dim, K tokens a picture, D cross_attention_dim, H hidden_dim
/// The basic form: one linear layer makes all tokens. Source: diffusers embeddings.py, ImageProjection.
class ImageProjection {
 public:
  ImageProjection(const WeightScope& w, const ImageProjectionConfig& config);
  Tensor operator()(const Tensor& image_embeds) const;  // [N, E] -> [N, K, D]

 private:
  nn::Linear proj_;
  nn::LayerNorm norm_;
  int64_t num_image_text_embeds_;
};

/// One layer of IP-Adapter Plus: the tokens look at the states and at each other, then an MLP. Source:
/// diffusers embeddings.py, IPAdapterPlusImageProjectionBlock, under the names that the adapters' files have.
class PerceiverLayer {
 public:
  PerceiverLayer(const WeightScope& w, const ImageProjectionConfig& config);
  Tensor operator()(const Tensor& latents, const Tensor& states) const;  // [N, K, H], [N, T, H] -> [N, K, H]

 private:
  nn::LayerNorm norm1_, norm2_, norm_;
  nn::Linear to_q_, to_kv_, to_out_, fc1_, fc2_;
  nn::AttentionCore core_;
};

/// IP-Adapter Plus. Source: diffusers embeddings.py, IPAdapterPlusImageProjection.
class IPAdapterPlusImageProjection {
 public:
  IPAdapterPlusImageProjection(const WeightScope& w, const ImageProjectionConfig& config);
  Tensor operator()(const Tensor& states) const;  // [N, T, E] -> [N, K, D]

 private:
  Tensor latents_;  // [1, K, H]
  nn::Linear proj_in_, proj_out_;
  nn::LayerNorm norm_out_;
  std::vector<PerceiverLayer> layers_;
};

/// The one of them that a config says.
class AnyImageProjection {
 public:
  AnyImageProjection(const WeightScope& w, const ImageProjectionConfig& config);
  Tensor operator()(const Tensor& embeds) const { return basic_ ? (*basic_)(embeds) : (*plus_)(embeds); }

 private:
  std::optional<ImageProjection> basic_;
  std::optional<IPAdapterPlusImageProjection> plus_;
};

}  // namespace diffract::models
