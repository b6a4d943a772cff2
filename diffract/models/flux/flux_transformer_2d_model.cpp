#include "diffract/models/flux/flux_transformer_2d_model.h"

#include <algorithm>

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

void require(bool fits, const char* name, const Tensor& found, const std::string& expected) {
  if (!fits)
    throw UsageError("transformer: {} has shape {}; expected {}", name,
                     found.defined() ? c10::str(found.sizes()) : "none", expected);
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
      x_embedder_(w.without_float8() / "x_embedder", c.in_channels, c.inner_dim()),
      context_embedder_(w.without_float8() / "context_embedder", c.joint_attention_dim, c.inner_dim()),
      time_text_embed_(w.without_float8() / "time_text_embed", c),
      modulations_(nn::Unit::once_for_many_steps, w / "transformer_blocks", c.num_layers, c.inner_dim(),
                   FluxTransformerBlock::modulated()),
      single_modulations_(nn::Unit::once_for_many_steps, w / "single_transformer_blocks", c.num_single_layers,
                          c.inner_dim(), FluxSingleTransformerBlock::modulated()),
      transformer_blocks_(w / "transformer_blocks", c.num_layers, c),
      single_transformer_blocks_(w / "single_transformer_blocks", c.num_single_layers, c),
      norm_out_(w.without_float8() / "norm_out", c.inner_dim()),
      proj_out_(w.without_float8() / "proj_out", c.inner_dim(), c.out_channels),
      arithmetic_(w.arithmetic()),
      device_(w.device()) {}

Tensor FluxTransformer2DModel::rotary(const Tensor& text_ids, const Tensor& image_ids) const {
  const Tensor ids = at::cat({text_ids, image_ids}).to(at::kFloat);
  return nn::to_device(nn::rotary_embedding(ids, config_.axes_dims_rope), device_);
}

void FluxTransformer2DModel::check(const Tensor& latents, const Conditioning& cond) const {
  require(latents.dim() == 3 && latents.size(2) == config_.in_channels && latents.numel() > 0, "latents",
          latents, fmt::format("[batch, image tokens, {}]", config_.in_channels));
  const int64_t batch = latents.size(0);
  const Tensor& text = cond.prompt_embeds;
  require(text.defined() && text.dim() == 3 && text.size(0) == batch && text.size(1) > 0 &&
              text.size(2) == config_.joint_attention_dim,
          "prompt_embeds", text, fmt::format("[{}, text tokens, {}]", batch, config_.joint_attention_dim));
  require(cond.rope.defined() && cond.rope.dim() == 3 && cond.rope.size(0) == text.size(1) + latents.size(1),
          "rope", cond.rope,
          fmt::format("[{} text tokens + {} image tokens, ...]", text.size(1), latents.size(1)));
}

std::vector<FluxTransformer2DModel::Modulation> FluxTransformer2DModel::modulations(
    const Tensor& sigmas, const Conditioning& cond) const {
  require(sigmas.dim() == 2 && sigmas.numel() > 0, "sigmas", sigmas, "[steps, batch]");
  const int64_t steps = sigmas.size(0), batch = sigmas.size(1);
  const Tensor& pooled = cond.pooled_prompt_embeds;
  require(pooled.defined() && pooled.dim() == 2 && pooled.size(0) == batch &&
              pooled.size(1) == config_.pooled_projection_dim,
          "pooled_prompt_embeds", pooled, fmt::format("[{}, {}]", batch, config_.pooled_projection_dim));
  if (config_.guidance_embeds != cond.guidance.defined())
    throw UsageError("transformer: guidance is {}, but the checkpoint's \"guidance_embeds\" is {}",
                     cond.guidance.defined() ? "given" : "missing", config_.guidance_embeds);
  const Tensor guidance = cond.guidance.defined() ? cond.guidance.repeat({steps}) : Tensor();
  const Tensor temb = at::silu(
      time_text_embed_(sigmas.flatten(), guidance, pooled.to(arithmetic_).repeat({steps, 1})));  // [S * B, D]
  std::vector<Modulation> made(static_cast<size_t>(steps));
  const auto of_steps = [&](const Tensor& all) { return all.unflatten(0, {steps, batch}).unbind(0); };
  const auto add = [&](const nn::BlockList<FluxModulation>& blocks) {
    for (const auto& block : blocks) {
      const auto each = of_steps(block(temb));
      for (size_t i = 0; i < made.size(); ++i) made[i].blocks.push_back(each[i]);
    }
  };
  add(modulations_);
  add(single_modulations_);
  const auto tembs = of_steps(temb);
  for (size_t i = 0; i < made.size(); ++i) made[i].temb = tembs[i];
  return made;
}

int64_t FluxTransformer2DModel::modulation_bytes(int64_t batch) const {
  const auto vectors = [](const std::vector<FluxModulation::Norm>& norms) {
    int64_t sum = 0;
    for (const auto& norm : norms) sum += norm.vectors;
    return sum;
  };
  return (1 + config_.num_layers * vectors(FluxTransformerBlock::modulated()) +
          config_.num_single_layers * vectors(FluxSingleTransformerBlock::modulated())) *
         batch * config_.inner_dim() * static_cast<int64_t>(c10::elementSize(arithmetic_));
}

Tensor FluxTransformer2DModel::operator()(const Tensor& latents, const Tensor& sigma,
                                          const Conditioning& cond) const {
  check(latents, cond);
  require(sigma.dim() == 1 && sigma.size(0) == latents.size(0), "sigma", sigma,
          fmt::format("[{}]", latents.size(0)));
  return (*this)(latents, modulations(sigma.unsqueeze(0), cond).front(), cond);
}

Tensor FluxTransformer2DModel::operator()(const Tensor& latents, const Modulation& modulation,
                                          const Conditioning& cond) const {
  check(latents, cond);
  require(modulation.temb.defined() && modulation.temb.dim() == 2 &&
              modulation.temb.size(0) == latents.size(0) && modulation.temb.size(1) == config_.inner_dim(),
          "temb", modulation.temb, fmt::format("[{}, {}]", latents.size(0), config_.inner_dim()));
  if (modulation.blocks.size() != transformer_blocks_.size() + single_transformer_blocks_.size())
    throw UsageError("transformer: the modulation is of {} blocks; expected {}", modulation.blocks.size(),
                     transformer_blocks_.size() + single_transformer_blocks_.size());
  auto of_block = modulation.blocks.begin();
  FluxStreams streams{.text = {.x = context_embedder_(cond.prompt_embeds.to(arithmetic_))},
                      .image = {.x = x_embedder_(latents.to(arithmetic_))}};
  for (const auto& block : transformer_blocks_) streams = block(streams, *of_block++, cond.rope);
  const Tensor text = streams.text.value(), image = streams.image.value();
  FluxSum x{.x = at::cat({nn::beside(image, text), image}, 1)};  // [B, T + I, D]
  int64_t unread = text.size(1);  // tokens in front: nobody reads the text's behind the last block
  for (size_t i = 0; i < single_transformer_blocks_.size(); ++i) {
    const bool is_last = i + 1 == single_transformer_blocks_.size();
    x = single_transformer_blocks_[i](x, *of_block++, cond.rope, is_last ? unread : 0);
    if (is_last) unread = 0;
  }
  const Tensor of_image = x.value().slice(1, unread);  // [B, I, D]
  return nn::beside(latents, proj_out_(norm_out_(of_image, modulation.temb))).to(at::kFloat);
}

std::vector<Tensor> FluxTransformer2DModel::tensors_of(const Tensor& latents, const Modulation& modulation,
                                                       const Conditioning& cond) {
  std::vector<Tensor> tensors{latents, cond.prompt_embeds, cond.rope, modulation.temb};
  tensors.insert(tensors.end(), modulation.blocks.begin(), modulation.blocks.end());
  return tensors;
}

Tensor FluxTransformer2DModel::operator()(const std::vector<Tensor>& t) const {
  return (*this)(t.at(0), {.temb = t.at(3), .blocks = {t.begin() + 4, t.end()}},
                 {.prompt_embeds = t.at(1), .pooled_prompt_embeds = {}, .rope = t.at(2), .guidance = {}});
}

FluxModulations::FluxModulations(const FluxTransformer2DModel& model, Tensor sigmas,
                                 const FluxTransformer2DModel::Conditioning& cond)
    : model_(model), sigmas_(std::move(sigmas)), cond_(cond) {
  require(sigmas_.dim() == 2 && sigmas_.numel() > 0, "sigmas", sigmas_, "[steps, batch]");
  at_once_ = steps_at_once(model, sigmas_.size(0), sigmas_.size(1));
}

int64_t FluxModulations::steps_at_once(const FluxTransformer2DModel& model, int64_t steps, int64_t batch) {
  const int64_t bytes = model.modulation_bytes(std::max<int64_t>(batch, 1));
  return std::max<int64_t>(1, std::min(steps, kMostBytes / bytes));
}

const FluxTransformer2DModel::Modulation& FluxModulations::operator[](int64_t step) {
  if (step < begin_ || step >= begin_ + static_cast<int64_t>(made_.size())) {
    begin_ = step;
    made_.clear();  // first: there is room for one time's
    made_ = model_.modulations(sigmas_.slice(0, step, step + at_once_), cond_);
  }
  return made_[static_cast<size_t>(step - begin_)];
}

}  // namespace diffract::models
