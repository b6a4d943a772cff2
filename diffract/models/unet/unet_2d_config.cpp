#include "diffract/models/unet/unet_2d_config.h"

#include <algorithm>
#include <cstdio>

#include "diffract/core/error.h"

namespace diffract::models {
namespace {

constexpr int64_t kMaxChannels = 1 << 16;

std::vector<std::string> block_types(const ConfigReader& config, const char* key, size_t levels,
                                     const std::vector<std::string>& known) {
  auto names = config.texts(key);
  if (names.size() != levels)
    throw CheckpointError("{}: \"{}\" has {} entries; expected {}, as \"block_out_channels\"",
                          config.source(), key, names.size(), levels);
  for (const auto& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw CheckpointError("{}: \"{}\" names \"{}\", which diffract does not build (only {} and {})",
                            config.source(), key, name, known[0], known[1]);
  return names;
}

void refuse_what_is_not_built(const ConfigReader& config) {
  for (const char* key :
       {"class_embed_type", "class_embeddings_concat", "cross_attention_norm", "dual_cross_attention",
        "encoder_hid_dim", "encoder_hid_dim_type", "num_class_embeds", "resnet_skip_time_act",
        "time_embedding_act_fn", "time_embedding_dim", "timestep_post_act"})
    config.unsupported_unless(key);
  // To diffusers null is no normalisation at all, while to our reader it is a key left out.
  if (config.json().contains("norm_num_groups") && !config.has("norm_num_groups"))
    throw CheckpointError("{}: \"norm_num_groups\" is null, which is not built; expected a number of groups",
                          config.source());
  config.unsupported_unless("addition_embed_type", "text_time");
  config.unsupported_unless("attention_type", "default");
  config.unsupported_unless("resnet_time_scale_shift", "default");
  config.unsupported_unless("time_embedding_type", "positional");
  config.unsupported_unless("resnet_out_scale_factor", 1.0);
}

void check_divisible(const ConfigReader& config, const UNet2DConditionConfig& c) {
  for (size_t i = 0; i < c.levels(); ++i) {
    if (c.block_out_channels[i] % c.norm_num_groups != 0)
      throw CheckpointError("{}: \"block_out_channels\" {} is not a multiple of \"norm_num_groups\" {}",
                            config.source(), c.block_out_channels[i], c.norm_num_groups);
    if (c.block_out_channels[i] % c.num_attention_heads[i] != 0)
      throw CheckpointError("{}: \"block_out_channels\" {} is not a multiple of its {} attention heads",
                            config.source(), c.block_out_channels[i], c.num_attention_heads[i]);
  }
}

// Of each attention of a level: one number for all of them, one a level, or a list of a level's own.
std::vector<std::vector<int64_t>> transformer_layers(const ConfigReader& config, const char* key,
                                                     const std::vector<int64_t>& attentions) {
  constexpr int64_t kMostLayers = 100;
  const size_t levels = attentions.size();
  const Json whole = config.has(key) ? config.json()[key] : Json(1);
  if (whole.is_array() && whole.size() != levels)
    throw CheckpointError("{}: \"{}\" has {} entries; expected {}, as \"block_out_channels\"",
                          config.source(), key, whole.size(), levels);
  std::vector<std::vector<int64_t>> layers;
  for (size_t i = 0; i < levels; ++i) {
    const ConfigReader level(Json{{key, whole.is_array() ? whole[i] : whole}}, config.source());
    auto own = level.integers(key, 0, kMostLayers, static_cast<size_t>(attentions[i]));
    layers.push_back(std::move(own));
  }
  return layers;
}

// From the finest level; "reverse_transformer_layers_per_block" stands from the coarsest.
std::vector<std::vector<int64_t>> transformer_layers_up(const ConfigReader& config,
                                                        std::vector<int64_t> attentions) {
  constexpr const char *kDown = "transformer_layers_per_block", *kUp = "reverse_transformer_layers_per_block";
  for (int64_t& count : attentions) ++count;
  if (config.has(kUp)) {
    auto layers = transformer_layers(config, kUp, {attentions.rbegin(), attentions.rend()});
    std::reverse(layers.begin(), layers.end());
    return layers;
  }
  if (const Json& down = config.json().value(kDown, Json()); down.is_array())
    for (const Json& level : down)
      if (level.is_array())
        throw CheckpointError("{}: \"{}\" has a list for a level; expected \"{}\" beside it", config.source(),
                              kDown, kUp);
  return transformer_layers(config, kDown, attentions);
}

std::optional<TextTimeConfig> read_text_time(const ConfigReader& config, const UNet2DConditionConfig& c) {
  if (!config.has("addition_embed_type")) return {};
  const int64_t width = config.integer("addition_time_embed_dim", 4, kMaxChannels);
  if (width % 2 != 0)  // a sine and a cosine for each frequency
    throw CheckpointError("{}: \"addition_time_embed_dim\" is {}; expected an even number", config.source(),
                          width);
  return TextTimeConfig{.addition_time_embed_dim = width,
                        .projection_class_embeddings_input_dim =
                            config.integer("projection_class_embeddings_input_dim", 1, 1 << 20),
                        .flip_sin_to_cos = c.flip_sin_to_cos,
                        .freq_shift = c.freq_shift};
}

// What loading writes there (loading/ip_adapter.h).
std::vector<ImageProjectionConfig> read_ip_adapters(const ConfigReader& config) {
  std::vector<ImageProjectionConfig> adapters;
  if (!config.has(kIpAdaptersKey)) return adapters;
  for (const Json& one : config.json()[kIpAdaptersKey])
    adapters.push_back(ImageProjectionConfig::from_json({one, config.source()}));
  return adapters;
}

// "_diffusers_version", which tells what wrote the config: "0.8.1", "0.7.0.dev0".
bool is_before_0_9(const ConfigReader& config) {
  if (!config.has("_diffusers_version")) return false;
  const Json& version = config.json()["_diffusers_version"];
  int major = 0, minor = 0;
  return version.is_string() &&
         std::sscanf(version.get_ref<const std::string&>().c_str(), "%d.%d", &major, &minor) == 2 &&
         major == 0 && minor < 9;
}

}  // namespace

SampleSize sample_size_of(const ConfigReader& config) {
  constexpr int64_t kDefault = 64;
  const auto size = config.integers("sample_size", 1, 1 << 14, 2, std::vector<int64_t>{kDefault, kDefault});
  // Configs from before diffusers 0.9 that say less than 64 were wrong, and StableDiffusionPipeline takes 64.
  const bool is_one = config.has("sample_size") && config.json()["sample_size"].is_number();
  if (is_one && size[0] < kDefault && is_before_0_9(config)) return {.height = kDefault, .width = kDefault};
  return {.height = size[0], .width = size[1]};
}

UNet2DConditionConfig UNet2DConditionConfig::encoder_from_json(const ConfigReader& config) {
  refuse_what_is_not_built(config);
  UNet2DConditionConfig c;
  c.in_channels = config.integer("in_channels", 1, kMaxChannels, c.in_channels);
  c.block_out_channels =
      config.integers("block_out_channels", 1, kMaxChannels, {}, std::vector<int64_t>{320, 640, 1280, 1280});
  const size_t levels = c.levels();
  if (levels < 1 || levels > 16)
    throw CheckpointError("{}: \"block_out_channels\" has {} entries; expected 1 to 16", config.source(),
                          levels);
  c.down_block_types =
      block_types(config, "down_block_types", levels, {"CrossAttnDownBlock2D", "DownBlock2D"});
  const auto one_a_level = [&](const char* key, int64_t high, int64_t fallback) {
    return config.integers(key, 1, high, levels, std::vector<int64_t>(levels, fallback));
  };
  c.layers_per_block = one_a_level("layers_per_block", 100, 2);
  c.transformer_layers_per_block =
      transformer_layers(config, "transformer_layers_per_block", c.layers_per_block);
  c.cross_attention_dim = one_a_level("cross_attention_dim", kMaxChannels, 1280);
  // diffusers misnamed this key: in these checkpoints attention_head_dim is the number of heads.
  c.num_attention_heads = one_a_level(
      config.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim", kMaxChannels, 8);
  c.only_cross_attention = config.booleans("only_cross_attention", levels, false);
  // To diffusers null is no middle block at all (BK-SDM's small models), which is not a key left out.
  c.has_mid_block = config.has("mid_block_type") || !config.json().contains("mid_block_type");
  c.mid_block_attends = config.choice("mid_block_type", {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D"},
                                      "UNetMidBlock2DCrossAttn") == "UNetMidBlock2DCrossAttn";
  c.mid_block_scale_factor = config.number("mid_block_scale_factor", 1e-6, 1e6, 1.0);
  c.downsample_padding = config.integer("downsample_padding", 0, 1, 1);
  c.norm_num_groups = config.integer("norm_num_groups", 1, kMaxChannels, 32);
  c.norm_eps = config.number("norm_eps", 0, 1, c.norm_eps);
  c.act_fn = nn::parse_activation(config.choice("act_fn", nn::activation_names(), "silu"));
  c.flip_sin_to_cos = config.boolean("flip_sin_to_cos", true);
  c.freq_shift = config.number("freq_shift", 0, 1, 0.0);
  c.text_time = read_text_time(config, c);
  c.use_linear_projection = config.boolean("use_linear_projection", false);
  c.upcast_attention = config.boolean("upcast_attention", false);
  check_divisible(config, c);
  return c;
}

UNet2DConditionConfig UNet2DConditionConfig::from_json(const ConfigReader& config) {
  UNet2DConditionConfig c = encoder_from_json(config);
  const SampleSize size = sample_size_of(config);
  c.sample_size = size.height;
  c.sample_width = size.width;
  c.out_channels = config.integer("out_channels", 1, kMaxChannels, c.out_channels);
  c.up_block_types = block_types(config, "up_block_types", c.levels(), {"CrossAttnUpBlock2D", "UpBlock2D"});
  c.transformer_layers_on_the_way_up = transformer_layers_up(config, c.layers_per_block);
  c.center_input_sample = config.boolean("center_input_sample", false);
  c.conv_in_kernel = config.integer("conv_in_kernel", 1, 31, 3);
  c.conv_out_kernel = config.integer("conv_out_kernel", 1, 31, 3);
  c.ip_adapters = read_ip_adapters(config);
  if (config.has("time_cond_proj_dim")) {
    c.time_cond_proj_dim = config.integer("time_cond_proj_dim", 4, kMaxChannels);
    if (c.time_cond_proj_dim % 2 != 0)
      throw CheckpointError("{}: \"time_cond_proj_dim\" is {}; expected an even number", config.source(),
                            c.time_cond_proj_dim);
  }
  return c;
}

}  // namespace diffract::models
