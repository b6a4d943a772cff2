#include "diffract/models/flux/flux_blocks.h"

#include <fmt/ranges.h>

#include "diffract/core/error.h"
#include "diffract/kernels/device_traits.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/residual_norm.h"

namespace diffract::models {
namespace {

constexpr double kEps = 1e-6;
constexpr int64_t kFeedForwardFactor = 4;
constexpr FluxQkvProjection::Names kNames{
    .q = "to_q", .k = "to_k", .v = "to_v", .norm_q = "norm_q", .norm_k = "norm_k"};
constexpr FluxQkvProjection::Names kAddedNames{.q = "add_q_proj",
                                               .k = "add_k_proj",
                                               .v = "add_v_proj",
                                               .norm_q = "norm_added_q",
                                               .norm_k = "norm_added_k"};

// [B, L, D]
Tensor attend(const nn::AttentionCore& core, const FluxQkv& qkv, const Tensor& out = {}) {
  return core(qkv.query.flatten(2), qkv.key.flatten(2), qkv.value.flatten(2), {.bias = {}, .out = out});
}

// The sum x, and norm(x) * (1 + scale) + shift, for layers that multiply in float8 if `to_float8`.
kernels::ResidualNormResult normed(const FluxSum& x, const Tensor& shift, const Tensor& scale,
                                   bool to_float8) {
  return kernels::residual_norm(x.x, x.y, x.gate,
                                {.eps = kEps, .scale = scale, .shift = shift, .to_float8 = to_float8});
}

FluxQkv join(const FluxQkv& a, const FluxQkv& b) {
  return {.query = at::cat({a.query, b.query}, 1),
          .key = at::cat({a.key, b.key}, 1),
          .value = at::cat({a.value, b.value}, 1)};
}

}  // namespace

FluxTransformer2DConfig FluxTransformer2DConfig::from_json(const ConfigReader& config) {
  constexpr int64_t kMaxWidth = 1 << 16;
  FluxTransformer2DConfig c;
  config.unsupported_unless("patch_size", 1);
  c.in_channels = config.integer("in_channels", 4, kMaxWidth, c.in_channels);
  c.out_channels = config.integer("out_channels", 1, kMaxWidth, c.in_channels);
  c.num_layers = config.integer("num_layers", 0, 1000, c.num_layers);
  c.num_single_layers = config.integer("num_single_layers", 0, 1000, c.num_single_layers);
  c.attention_head_dim = config.integer("attention_head_dim", 2, kMaxWidth, c.attention_head_dim);
  c.num_attention_heads = config.integer("num_attention_heads", 1, 1 << 12, c.num_attention_heads);
  c.joint_attention_dim = config.integer("joint_attention_dim", 1, kMaxWidth, c.joint_attention_dim);
  c.pooled_projection_dim = config.integer("pooled_projection_dim", 1, kMaxWidth, c.pooled_projection_dim);
  c.guidance_embeds = config.boolean("guidance_embeds", c.guidance_embeds);
  c.axes_dims_rope = config.integers("axes_dims_rope", 2, kMaxWidth, {}, c.axes_dims_rope);
  int64_t turned = 0;
  for (const int64_t width : c.axes_dims_rope) turned += width % 2 == 0 ? width : kMaxWidth;
  if (c.axes_dims_rope.size() != 3 || turned != c.attention_head_dim)
    throw CheckpointError(
        "{}: \"axes_dims_rope\" is [{}]; expected three even numbers whose sum is \"attention_head_dim\" {}",
        config.source(), fmt::join(c.axes_dims_rope, ", "), c.attention_head_dim);
  if (c.in_channels % 4 != 0)
    throw CheckpointError("{}: \"in_channels\" {} is not a multiple of 4, as packed latents are",
                          config.source(), c.in_channels);
  return c;
}

Tensor AdaLayerNormContinuous::operator()(const Tensor& x, const Tensor& temb) const {
  const auto out = linear_(temb).unsqueeze(1).chunk(2, 2);  // scale, then shift: not as in the blocks
  return normed({.x = x}, /*shift=*/out[1], /*scale=*/out[0], /*to_float8=*/false).norm.values;
}

FluxSum FluxSum::of(Tensor x, Tensor y, Tensor gate) {
  FluxSum sum{.x = std::move(x), .y = std::move(y), .gate = std::move(gate)};
  return kernels::traits(sum.x).fuses_sums ? sum : FluxSum{.x = sum.value()};
}

Tensor FluxSum::value() const { return y.defined() ? kernels::gated_residual(x, y, gate) : x; }

FluxSum to_device(const FluxSum& sum, at::Device device) {
  if (sum.x.device() == device) return sum;
  return {.x = nn::to_device(sum.value(), device)};
}

FluxQkvProjection::FluxQkvProjection(const WeightScope& w, const FluxTransformer2DConfig& c,
                                     const Names& names)
    : qkv_({nn::Linear(w / names.q, c.inner_dim(), c.inner_dim()),
            nn::Linear(w / names.k, c.inner_dim(), c.inner_dim()),
            nn::Linear(w / names.v, c.inner_dim(), c.inner_dim())}),
      norm_q_(w / names.norm_q, c.attention_head_dim, kEps),
      norm_k_(w / names.norm_k, c.attention_head_dim, kEps),
      heads_(c.num_attention_heads) {}

FluxQkv FluxQkvProjection::operator()(const Rows& x, const Tensor& rope, const Tensor& out) const {
  const auto heads = [&](const Tensor& projected) { return projected.unflatten(2, {heads_, -1}); };
  const auto qkv = qkv_(x, out);
  auto [query, key] = kernels::norm_rotary({.query = heads(qkv[0]), .key = heads(qkv[1])},
                                           {.query = norm_q_.weight(), .key = norm_k_.weight()}, kEps, rope);
  return {.query = std::move(query), .key = std::move(key), .value = heads(qkv[2])};
}

FluxQkv FluxQkvProjection::parts(const Tensor& qkv) const {
  const auto all = qkv.unflatten(2, {3, heads_, -1}).unbind(2);
  return {.query = all[0], .key = all[1], .value = all[2]};
}

FluxFeedForward::FluxFeedForward(const WeightScope& w, int64_t width)
    : proj_(w / "net.0.proj", width, kFeedForwardFactor * width),
      out_(w / "net.2", kFeedForwardFactor * width, width) {}

Tensor FluxFeedForward::operator()(const Rows& x) const {
  // In float8 the gelu is part of the rounding of what comes next.
  return out_.wants_rounded_rows() ? out_(kernels::round_beside_gelu({}, proj_(x)))
                                   : out_(proj_(x, {.gelu = true}));
}

FluxTransformerBlock::FluxTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& c)
    : image_qkv_(w / "attn", c, kNames),
      text_qkv_(w / "attn", c, kAddedNames),
      to_out_(w / "attn.to_out.0", c.inner_dim(), c.inner_dim()),
      to_add_out_(w / "attn.to_add_out", c.inner_dim(), c.inner_dim()),
      ff_(w / "ff", c.inner_dim()),
      ff_context_(w / "ff_context", c.inner_dim()),
      core_(w, {.heads = c.num_attention_heads}, c.inner_dim()),
      arithmetic_(w.arithmetic()) {}

// Of text and image tokens behind each other.
FluxQkv FluxTransformerBlock::joint_qkv(const Rows& text, const Rows& image, const Tensor& rope) const {
  const Tensor &words = text.values, &pixels = image.values;
  const int64_t tokens = words.size(1);
  const Tensor text_rope = rope.slice(0, 0, tokens), image_rope = rope.slice(0, tokens);
  if (!kernels::traits(words).writes_into_parts)
    return join(text_qkv_(text, text_rope), image_qkv_(image, image_rope));
  const Tensor joint = at::empty({words.size(0), tokens + pixels.size(1), 3 * words.size(2)},
                                 words.options().dtype(arithmetic_));
  text_qkv_(text, text_rope, joint.slice(1, 0, tokens));
  image_qkv_(image, image_rope, joint.slice(1, tokens));
  return text_qkv_.parts(joint);
}

FluxStreams FluxTransformerBlock::operator()(const FluxStreams& in, const Tensor& modulation,
                                             const Tensor& rope) const {
  enum { shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp };  // the checkpoint's order
  constexpr int kVectors = 6;
  const auto image = FluxModulation::vectors(modulation, in.image.x.size(2));
  const std::vector<Tensor> text(image.begin() + kVectors, image.end());

  const bool narrow = image_qkv_.wants_rounded_rows();  // as are all large layers of a block, or none
  const auto text_in = normed(in.text, text[shift_msa], text[scale_msa], narrow),
             image_in = normed(in.image, image[shift_msa], image[scale_msa], narrow);
  const Tensor attended = attend(core_, joint_qkv(text_in.norm, image_in.norm, rope));
  const Rows mixed = narrow ? kernels::round_rows(attended) : Rows(attended);
  const int64_t tokens = text_in.sum.size(1), all = attended.size(1);
  const auto behind_attention = [&](const Tensor& x, const Tensor& out, const std::vector<Tensor>& m) {
    return kernels::residual_norm(
        x, out, m[gate_msa],
        {.eps = kEps, .scale = m[scale_mlp], .shift = m[shift_mlp], .to_float8 = ff_.wants_rounded_rows()});
  };
  const auto image_out = behind_attention(image_in.sum, to_out_(mixed.slice(tokens, all)), image);
  const auto text_out = behind_attention(text_in.sum, to_add_out_(mixed.slice(0, tokens)), text);
  return {.text = FluxSum::of(text_out.sum, ff_context_(text_out.norm), text[gate_mlp]),
          .image = FluxSum::of(image_out.sum, ff_(image_out.norm), image[gate_mlp])};
}

FluxSingleTransformerBlock::FluxSingleTransformerBlock(const WeightScope& w, const FluxTransformer2DConfig& c)
    : qkv_(w / "attn", c, kNames),
      proj_mlp_(w / "proj_mlp", c.inner_dim(), kFeedForwardFactor * c.inner_dim()),
      proj_out_(w / "proj_out", (1 + kFeedForwardFactor) * c.inner_dim(), c.inner_dim()),
      core_(w, {.heads = c.num_attention_heads}, c.inner_dim()) {}

FluxSum FluxSingleTransformerBlock::operator()(const FluxSum& in, const Tensor& modulation,
                                               const Tensor& rope, int64_t first) const {
  enum { shift, scale, gate };
  const auto m = FluxModulation::vectors(modulation, in.x.size(2));
  const auto x = normed(in, m[shift], m[scale], qkv_.wants_rounded_rows());
  const Rows both = beside_mlp(x.norm, rope, first);
  return FluxSum::of(x.sum.slice(1, first), proj_out_(both), m[gate]);
}

// [B, L - first, 5 D]: what attention gives beside the feed-forward's hidden values.
Rows FluxSingleTransformerBlock::beside_mlp(const Rows& all, const Tensor& rope, int64_t first) const {
  FluxQkv qkv = qkv_(all, rope);
  qkv.query = qkv.query.slice(1, first);
  const Rows x = all.slice(first, all.values.size(1));
  // In float8 the gelu is part of the rounding, and so is bringing the two together.
  if (proj_out_.wants_rounded_rows()) return kernels::round_beside_gelu(attend(core_, qkv), proj_mlp_(x));
  if (!kernels::traits(x.values).writes_into_parts)
    return at::cat({attend(core_, qkv), proj_mlp_(x, {.gelu = true})}, 2);
  const int64_t width = x.values.size(2);
  Tensor both =
      at::empty({x.values.size(0), x.values.size(1), (1 + kFeedForwardFactor) * width}, qkv.query.options());
  attend(core_, qkv, both.slice(2, 0, width));
  proj_mlp_(x, {.gelu = true, .out = both.slice(2, width)});
  return both;
}

}  // namespace diffract::models
