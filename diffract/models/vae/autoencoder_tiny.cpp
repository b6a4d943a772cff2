#include "diffract/models/vae/autoencoder_tiny.h"

#include "diffract/nn/to_device.h"
#include "diffract/tensor/memory_errors.h"

namespace diffract::models {
namespace {

std::vector<int64_t> levels(const ConfigReader& config, const char* key, size_t count) {
  constexpr int64_t kMost = 1 << 16;
  const std::vector<int64_t> usual(count, 64);
  auto values = config.integers(key, 1, kMost, {}, usual);
  if (values.size() != count)
    throw CheckpointError("{}: \"{}\" has {} entries; expected {}, one a level", config.source(), key,
                          values.size(), count);
  return values;
}

std::vector<int64_t> block_counts(const ConfigReader& config, const char* key, std::vector<int64_t> usual) {
  constexpr int64_t kMost = 1000;
  constexpr size_t kMostLevels = 10;
  auto counts = config.integers(key, 0, kMost, {}, std::move(usual));
  if (counts.empty() || counts.size() > kMostLevels)
    throw CheckpointError("{}: \"{}\" has {} entries; expected 1 to {}", config.source(), key, counts.size(),
                          kMostLevels);
  return counts;
}

}  // namespace

AutoencoderTinyConfig AutoencoderTinyConfig::from_json(const ConfigReader& config) {
  AutoencoderTinyConfig c;
  c.in_channels = config.integer("in_channels", 1, 4, c.in_channels);
  c.out_channels = config.integer("out_channels", 1, 4, c.out_channels);
  c.latent_channels = config.integer("latent_channels", 1, 1024, c.latent_channels);
  c.num_encoder_blocks = block_counts(config, "num_encoder_blocks", {1, 3, 3, 3});
  c.num_decoder_blocks = block_counts(config, "num_decoder_blocks", {3, 3, 3, 1});
  if (c.num_encoder_blocks.size() != c.num_decoder_blocks.size())
    throw CheckpointError(
        "{}: \"num_encoder_blocks\" and \"num_decoder_blocks\" have {} and {} entries; "
        "expected as many",
        config.source(), c.num_encoder_blocks.size(), c.num_decoder_blocks.size());
  c.encoder_block_out_channels = levels(config, "encoder_block_out_channels", c.num_encoder_blocks.size());
  c.decoder_block_out_channels = levels(config, "decoder_block_out_channels", c.num_decoder_blocks.size());
  c.act_fn = nn::parse_activation(config.choice("act_fn", nn::activation_names(), "relu"));
  c.scaling_factor = config.number("scaling_factor", 1e-6, 1e6, c.scaling_factor);
  config.unsupported_unless("upsample_fn", "nearest");
  config.unsupported_unless("upsampling_scaling_factor", 2);
  config.unsupported_unless("shift_factor", 0.0);
  return c;
}

AutoencoderTinyBlock::AutoencoderTinyBlock(const WeightScope& w, int64_t channels, nn::Activation act_fn)
    : conv_in_(w / "conv.0", channels, channels),
      conv_between_(w / "conv.2", channels, channels),
      conv_out_(w / "conv.4", channels, channels),
      act_fn_(act_fn) {}

Tensor AutoencoderTinyBlock::operator()(const Tensor& x) const {
  const Tensor y = nn::activate(act_fn_, conv_in_(x));
  return nn::activate(nn::Activation::relu, conv_out_(nn::activate(act_fn_, conv_between_(y)), x));
}

AutoencoderTiny::AutoencoderTiny(const AutoencoderTinyConfig& c, const WeightScope& w)
    : config_(c), arithmetic_(w.arithmetic()) {
  add_encoder(w / "encoder" / "layers");
  add_decoder(w / "decoder" / "layers");
}

// nn::Sequential numbers its layers.
void AutoencoderTiny::add_encoder(const WeightScope& layers) {
  const auto& channels = config_.encoder_block_out_channels;
  int64_t number = 0;
  for (size_t i = 0; i < channels.size(); ++i) {
    const WeightScope at = layers / number++;
    Level level{.conv = i == 0 ? nn::Placed<nn::Conv2d>(at, config_.in_channels, channels[i])
                               : nn::Placed<nn::Conv2d>(at, channels[i], channels[i],
                                                        nn::ConvShape{.stride = 2}, nn::Bias::no),
                .blocks = {}};
    for (int64_t block = 0; block < config_.num_encoder_blocks[i]; ++block)
      level.blocks.emplace_back(layers / number++, channels[i], config_.act_fn);
    encoder_.push_back(std::move(level));
  }
  encoder_out_.emplace(layers / number, channels.back(), config_.latent_channels);
}

void AutoencoderTiny::add_decoder(const WeightScope& layers) {
  const auto& channels = config_.decoder_block_out_channels;
  decoder_in_.emplace(layers / int64_t{0}, config_.latent_channels, channels.front());
  int64_t number = 2;  // behind the activation
  for (size_t i = 0; i < channels.size(); ++i) {
    std::vector<nn::Placed<AutoencoderTinyBlock>> blocks;
    for (int64_t block = 0; block < config_.num_decoder_blocks[i]; ++block)
      blocks.emplace_back(layers / number++, channels[i], config_.act_fn);
    const bool is_last = i + 1 == channels.size();
    if (!is_last) ++number;  // the upsampler
    const WeightScope at = layers / number++;
    decoder_.push_back(
        {.conv = nn::Placed<nn::Conv2d>(at, channels[i], is_last ? config_.out_channels : channels[i],
                                        nn::ConvShape{}, is_last ? nn::Bias::yes : nn::Bias::no),
         .blocks = std::move(blocks)});
  }
}

LatentDistribution AutoencoderTiny::encode(const Tensor& pixels) const {
  check_pixels(pixels, config_.in_channels);
  return tensor::with_memory_errors([&]() -> LatentDistribution {
    std::vector<Tensor> latents;
    for (const Tensor& one : pixels.to(arithmetic_).split(1)) {
      Tensor x = (one + 1) / 2;  // it was trained on [0, 1]
      for (const Level& level : encoder_) {
        x = level.conv(x);
        for (const auto& block : level.blocks) x = block(x);
      }
      latents.push_back(nn::beside(pixels, (*encoder_out_)(x)).to(at::kFloat));
    }
    return {.mean = at::cat(latents)};
  });
}

Tensor AutoencoderTiny::decode(const Tensor& latents) const {
  check_latents(latents);
  constexpr double kLargest = 3;  // values of latents are bent to below it
  return tensor::with_memory_errors([&] {
    std::vector<Tensor> images;
    for (const Tensor& one : latents.to(arithmetic_).split(1)) {
      Tensor x = nn::activate(config_.act_fn, (*decoder_in_)(at::tanh(one / kLargest) * kLargest));
      for (size_t i = 0; i < decoder_.size(); ++i) {
        for (const auto& block : decoder_[i].blocks) x = block(x);
        if (i + 1 < decoder_.size()) x = at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
        x = decoder_[i].conv(x);
      }
      images.push_back((x * 2 - 1).to(at::kFloat));
    }
    return at::cat(images);
  });
}

}  // namespace diffract::models
