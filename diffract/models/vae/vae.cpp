#include "diffract/models/vae/vae.h"

#include "diffract/core/error.h"
#include "diffract/tensor/host_memory.h"

namespace diffract::models {
namespace {

constexpr double kNormEps = 1e-6;
constexpr size_t kLargeMapBytes = size_t{64} << 20;

ResnetShape resnet_shape(const AutoencoderKLConfig& c, int64_t in, int64_t out) {
  return {.in_channels = in,
          .out_channels = out,
          .groups = c.norm_num_groups,
          .eps = kNormEps,
          .activation = c.act_fn};
}

// Checkpoints from before diffusers 0.17 (Stable Diffusion 1.5's among them) have the older names.
nn::AttentionNames attention_names(const WeightScope& w) {
  if ((w / "query").has("weight")) return {.q = "query", .k = "key", .v = "value", .out = "proj_attn"};
  return {};
}

void require_block_types(const ConfigReader& config, const char* key, const std::string& only,
                         size_t levels) {
  const auto names = config.texts(key);
  if (names.size() != levels)
    throw CheckpointError("{}: \"{}\" has {} entries; expected {}, as \"block_out_channels\"",
                          config.source(), key, names.size(), levels);
  for (const auto& name : names)
    if (name != only)
      throw CheckpointError("{}: \"{}\" names \"{}\"; diffract builds {} only", config.source(), key, name,
                            only);
}

std::vector<double> one_a_channel(const ConfigReader& config, const char* key, int64_t channels) {
  if (!config.has(key)) return {};
  auto values = config.numbers(key);
  if (values.size() != static_cast<size_t>(channels))
    throw CheckpointError("{}: \"{}\" has {} entries; expected {}, as \"latent_channels\"", config.source(),
                          key, values.size(), channels);
  return values;
}

}  // namespace

AutoencoderKLConfig AutoencoderKLConfig::from_json(const ConfigReader& config) {
  constexpr int64_t kMaxChannels = 1 << 16;
  AutoencoderKLConfig c;
  c.in_channels = config.integer("in_channels", 1, 4, c.in_channels);
  c.out_channels = config.integer("out_channels", 1, 4, c.out_channels);
  c.latent_channels = config.integer("latent_channels", 1, 1024, c.latent_channels);
  c.block_out_channels = config.integers("block_out_channels", 1, kMaxChannels, {}, std::vector<int64_t>{64});
  if (c.levels() < 1 || c.levels() > 10)
    throw CheckpointError("{}: \"block_out_channels\" has {} entries; expected 1 to 10", config.source(),
                          c.levels());
  require_block_types(config, "down_block_types", "DownEncoderBlock2D", c.levels());
  require_block_types(config, "up_block_types", "UpDecoderBlock2D", c.levels());
  c.layers_per_block = config.integer("layers_per_block", 1, 100, c.layers_per_block);
  c.norm_num_groups = config.integer("norm_num_groups", 1, kMaxChannels, c.norm_num_groups);
  for (const int64_t channels : c.block_out_channels)
    if (channels % c.norm_num_groups != 0)
      throw CheckpointError("{}: \"block_out_channels\" {} is not a multiple of \"norm_num_groups\" {}",
                            config.source(), channels, c.norm_num_groups);
  c.act_fn = nn::parse_activation(config.choice("act_fn", nn::activation_names(), "silu"));
  c.scaling_factor = config.number("scaling_factor", 1e-6, 1e6, c.scaling_factor);
  c.shift_factor = config.number("shift_factor", -1e6, 1e6, c.shift_factor);
  c.use_quant_conv = config.boolean("use_quant_conv", true);
  c.use_post_quant_conv = config.boolean("use_post_quant_conv", true);
  c.mid_block_add_attention = config.boolean("mid_block_add_attention", true);
  c.latents_mean = one_a_channel(config, "latents_mean", c.latent_channels);
  c.latents_std = one_a_channel(config, "latents_std", c.latent_channels);
  if (c.latents_mean.empty() != c.latents_std.empty())
    throw CheckpointError("{}: has one of \"latents_mean\" and \"latents_std\"; expected both or neither",
                          config.source());
  return c;
}

VaeAttention::VaeAttention(const WeightScope& w, const AutoencoderKLConfig& c)
    : group_norm_(w / "group_norm", c.norm_num_groups, c.block_out_channels.back(), kNormEps),
      attention_(w,
                 {.query = c.block_out_channels.back(),
                  .context = c.block_out_channels.back(),
                  .inner = c.block_out_channels.back()},
                 {.heads = 1}, nn::Bias::yes, attention_names(w)) {}

Tensor VaeAttention::operator()(const Tensor& x) const {
  const Tensor pixels = group_norm_(x).flatten(2).transpose(1, 2);  // [B, H * W, C]
  const Tensor mixed = attention_(pixels).transpose(1, 2).reshape(x.sizes());
  return nn::beside(mixed, x) + mixed;
}

VaeMidBlock::VaeMidBlock(const WeightScope& w, const AutoencoderKLConfig& c)
    : resnet_in_(w / "resnets.0", resnet_shape(c, c.block_out_channels.back(), c.block_out_channels.back())),
      resnet_out_(w / "resnets.1",
                  resnet_shape(c, c.block_out_channels.back(), c.block_out_channels.back())) {
  if (c.mid_block_add_attention) attention_.emplace(w / "attentions.0", c);
}

Tensor VaeMidBlock::operator()(const Tensor& input) const {
  const Tensor x = resnet_in_(input);
  return resnet_out_(attention_ ? (*attention_)(x) : x);
}

VaeEncoder::VaeEncoder(const WeightScope& w, const AutoencoderKLConfig& c)
    : conv_in_(w / "conv_in", c.in_channels, c.block_out_channels.front()),
      mid_block_(w / "mid_block", c),
      conv_norm_out_(w / "conv_norm_out", c.norm_num_groups, c.block_out_channels.back(), kNormEps),
      conv_out_(w / "conv_out", c.block_out_channels.back(), 2 * c.latent_channels),
      act_fn_(c.act_fn) {
  int64_t in = c.block_out_channels.front();
  for (size_t i = 0; i < c.levels(); ++i) {
    const WeightScope below = w / "down_blocks" / static_cast<int64_t>(i);
    const int64_t out = c.block_out_channels[i];
    Level level;
    for (int64_t j = 0; j < c.layers_per_block; ++j, in = out)
      level.resnets.emplace_back(below / "resnets" / j, resnet_shape(c, in, out));
    if (i + 1 < c.levels()) level.downsampler.emplace(below / "downsamplers.0", out, /*padding=*/0);
    down_blocks_.push_back(std::move(level));
  }
}

Tensor VaeEncoder::operator()(const Tensor& pixels) const {
  Tensor x = conv_in_(pixels);
  for (const Level& level : down_blocks_) {
    for (const auto& resnet : level.resnets) x = resnet(x);
    if (level.downsampler) x = (*level.downsampler)(x);
  }
  return conv_out_(conv_norm_out_(mid_block_(x), act_fn_));
}

VaeDecoder::VaeDecoder(const WeightScope& w, const AutoencoderKLConfig& c)
    : conv_in_(w / "conv_in", c.latent_channels, c.block_out_channels.back()),
      mid_block_(w / "mid_block", c),
      conv_norm_out_(w / "conv_norm_out", c.norm_num_groups, c.block_out_channels.front(), kNormEps),
      conv_out_(w / "conv_out", c.block_out_channels.front(), c.out_channels),
      act_fn_(c.act_fn) {
  int64_t in = c.block_out_channels.back();
  for (size_t i = 0; i < c.levels(); ++i) {
    const WeightScope below = w / "up_blocks" / static_cast<int64_t>(i);
    const int64_t out = c.block_out_channels[c.levels() - 1 - i];
    Level level;
    for (int64_t j = 0; j < c.layers_per_block + 1; ++j, in = out)
      level.resnets.emplace_back(below / "resnets" / j, resnet_shape(c, in, out));
    if (i + 1 < c.levels()) level.upsampler.emplace(below / "upsamplers.0", out);
    up_blocks_.push_back(std::move(level));
  }
}

Tensor VaeDecoder::operator()(const Tensor& latents) const {
  Tensor x = mid_block_(conv_in_(latents));
  for (const Level& level : up_blocks_) {
    for (const auto& resnet : level.resnets) x = resnet(x);
    if (!level.upsampler) continue;
    x = (*level.upsampler)(x);
    // Kept blocks are of the smaller maps' sizes: of no use to the larger ones, whose memory is the peak.
    if (x.nbytes() >= kLargeMapBytes) tensor::release_host_memory();
  }
  return conv_out_(conv_norm_out_(x, act_fn_));
}

}  // namespace diffract::models
