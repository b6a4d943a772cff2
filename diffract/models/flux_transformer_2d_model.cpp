#include "diffract/models/flux_transformer_2d_model.h"

#include "diffract/core/error.h"
#include "diffract/nn/rotary.h"

namespace diffract::models {
namespace {

constexpr int64_t kSinusoidWidth = 256;
constexpr double kTimestepsASigma = 1000;  // the embeddings were trained on timesteps

Tensor sinusoid(const Tensor& sigma) {
  return nn::sinusoidal_embedding(sigma * kTimestepsASigma,
                                  {.width = kSinusoidWidth, .flip_sin_to_cos = true, .frequency_shift = 0});
}

}  // namespace

FluxTimeTextEmbed::FluxTimeTextEmbed(const WeightScope& w, const FluxTransformer2DConfig& c)
    : timestep_embedder_(w / "timestep_embedder", kSinusoidWidth, c.inner_dim()),
      text_embedder_(w / "text_embedder", c.pooled_projection_dim, c.inner_dim()) {
  if (c.guidance_embeds) guidance_embedder_.emplace(w / "guidance_embedder", kSinusoidWidth, c.inner_dim());
}

Tensor FluxTimeTextEmbed::operator()(const Tensor& sigma, const Tensor& guidance,
                                     const Tensor& pooled) const {
  Tensor embed = timestep_embedder_(sinusoid(sigma).to(pooled.scalar_type()));
  if (guidance_embedder_)
    embed = embed + nn::beside(embed, (*guidance_embedder_)(sinusoid(guidance).to(pooled.scalar_type())));
  return embed + nn::beside(embed, text_embedder_(pooled));
}

FluxTransformer2DModel::FluxTransformer2DModel(const FluxTransformer2DConfig& c, const WeightScope& w)
    : config_(c),
      x_embedder_(w / "x_embedder", c.in_channels, c.inner_dim()),
      context_embedder_(w / "context_embedder", c.joint_attention_dim, c.inner_dim()),
      time_text_embed_(w / "time_text_embed", c),
      transformer_blocks_(w / "transformer_blocks", c.num_layers, c),
      single_transformer_blocks_(w / "single_transformer_blocks", c.num_single_layers, c),
      norm_out_(w / "norm_out", c.inner_dim()),
      proj_out_(w / "proj_out", c.inner_dim(), c.out_channels),
      arithmetic_(w.arithmetic()),
      device_(w.device()) {}

Tensor FluxTransformer2DModel::rotary(const Tensor& text_ids, const Tensor& image_ids) const {
  const Tensor ids = at::cat({text_ids, image_ids}).to(at::kFloat);
  return nn::to_device(nn::rotary_embedding(ids, config_.axes_dims_rope), device_);
}

void FluxTransformer2DModel::check(const Tensor& latents, const Tensor& sigma,
                                   const Conditioning& cond) const {
  const auto require = [](bool fits, const char* name, const Tensor& found, const std::string& expected) {
    if (!fits)
      throw UsageError("transformer: {} has shape {}; expected {}", name,
                       found.defined() ? c10::str(found.sizes()) : "none", expected);
  };
  require(latents.dim() == 3 && latents.size(2) == config_.in_channels && latents.numel() > 0, "latents",
          latents, fmt::format("[batch, image tokens, {}]", config_.in_channels));
  const int64_t batch = latents.size(0);
  require(sigma.dim() == 1 && sigma.size(0) == batch, "sigma", sigma, fmt::format("[{}]", batch));
  const Tensor& text = cond.prompt_embeds;
  require(text.defined() && text.dim() == 3 && text.size(0) == batch && text.size(1) > 0 &&
              text.size(2) == config_.joint_attention_dim,
          "prompt_embeds", text, fmt::format("[{}, text tokens, {}]", batch, config_.joint_attention_dim));
  const Tensor& pooled = cond.pooled_prompt_embeds;
  require(pooled.defined() && pooled.dim() == 2 && pooled.size(0) == batch &&
              pooled.size(1) == config_.pooled_projection_dim,
          "pooled_prompt_embeds", pooled, fmt::format("[{}, {}]", batch, config_.pooled_projection_dim));
  require(cond.rope.defined() && cond.rope.dim() == 3 && cond.rope.size(0) == text.size(1) + latents.size(1),
          "rope", cond.rope,
          fmt::format("[{} text tokens + {} image tokens, ...]", text.size(1), latents.size(1)));
  if (config_.guidance_embeds != cond.guidance.defined())
    throw UsageError("transformer: guidance is {}, but the checkpoint's \"guidance_embeds\" is {}",
                     cond.guidance.defined() ? "given" : "missing", config_.guidance_embeds);
}

Tensor FluxTransformer2DModel::operator()(const Tensor& latents, const Tensor& sigma,
                                          const Conditioning& cond) const {
  check(latents, sigma, cond);
  const Tensor temb =
      at::silu(time_text_embed_(sigma, cond.guidance, cond.pooled_prompt_embeds.to(arithmetic_)));  // [B, D]
  FluxStreams streams{.text = context_embedder_(cond.prompt_embeds.to(arithmetic_)),
                      .image = x_embedder_(latents.to(arithmetic_))};
  for (const auto& block : transformer_blocks_) streams = block(streams, temb, cond.rope);
  Tensor x = at::cat({nn::beside(streams.image, streams.text), streams.image}, 1);  // [B, T + I, D]
  for (const auto& block : single_transformer_blocks_) x = block(x, temb, cond.rope);
  x = x.slice(1, streams.text.size(1));  // [B, I, D]
  return nn::beside(latents, proj_out_(norm_out_(x, temb))).to(at::kFloat);
}

}  // namespace diffract::models
