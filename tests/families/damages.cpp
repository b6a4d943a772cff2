#include "tests/families/damages.h"

namespace diffract::test {
namespace {

std::vector<ConfigDamage> stable_diffusion() {
  return {
      {"model_index.json", "_class_name", "StableDiffusionXLPipeline"},
      {"model_index.json", "_class_name", 5},
      {"model_index.json", "unet", {"diffusers", "UNet3DConditionModel"}},
      {"model_index.json", "unet", {nullptr, nullptr}},
      {"model_index.json", "vae", {"diffusers", "AutoencoderTiny"}},
      {"model_index.json", "text_encoder", {"transformers", "T5EncoderModel"}},
      {"model_index.json", "tokenizer", {"transformers", "T5Tokenizer"}},
      {"model_index.json", "scheduler", {"diffusers", "SCMScheduler"}},
      {"unet/config.json", "in_channels", 9},
      {"unet/config.json", "cross_attention_dim", 768},
      {"unet/config.json", "block_out_channels", {16, 32, 64}},
      {"unet/config.json", "block_out_channels", {16, 3200000}},
      {"unet/config.json", "layers_per_block", 3},
      {"unet/config.json", "layers_per_block", 1000000000},
      {"unet/config.json", "attention_head_dim", 0},
      {"unet/config.json", "norm_num_groups", 0},
      {"unet/config.json", "sample_size", -1},
      {"unet/config.json", "class_embed_type", "timestep"},
      {"text_encoder/config.json", "use_attention_mask", true},
      {"vae/config.json", "latent_channels", 16},
      {"vae/config.json", "block_out_channels", Json::array()},
      {"vae/config.json", "down_block_types", {"X"}},
      {"vae/config.json", "scaling_factor", 0},
      {"vae/config.json", "layers_per_block", 2},
      {"text_encoder/config.json", "hidden_size", 64},
      {"text_encoder/config.json", "num_attention_heads", 5},
      {"text_encoder/config.json", "num_hidden_layers", 4},
      {"text_encoder/config.json", "num_hidden_layers", 2000},
      {"text_encoder/config.json", "vocab_size", 100},
      {"text_encoder/config.json", "hidden_act", "swish7"},
      {"scheduler/scheduler_config.json", "beta_schedule", "magic"},
      {"scheduler/scheduler_config.json", "num_train_timesteps", 0},
      {"tokenizer/special_tokens_map.json", "bos_token", "<none>"},
  };
}

std::vector<ConfigDamage> stable_diffusion_xl() {
  return {
      {"model_index.json", "_class_name", "StableDiffusionPipeline"},
      {"model_index.json", "text_encoder_2", {"transformers", "CLIPTextModel"}},
      {"model_index.json", "text_encoder_2", {nullptr, nullptr}},
      {"model_index.json", "tokenizer_2", {"transformers", "T5Tokenizer"}},
      {"model_index.json", "force_zeros_for_empty_prompt", "yes"},
      {"model_index.json", "requires_aesthetics_score", true},
      {"unet/config.json", "addition_embed_type", nullptr},
      {"unet/config.json", "addition_embed_type", "image"},
      {"unet/config.json", "addition_time_embed_dim", 16},
      {"unet/config.json", "addition_time_embed_dim", nullptr},
      {"unet/config.json", "addition_time_embed_dim", 0},
      {"unet/config.json", "addition_time_embed_dim", 1000000000},
      {"unet/config.json", "projection_class_embeddings_input_dim", 80},
      {"unet/config.json", "projection_class_embeddings_input_dim", nullptr},
      {"unet/config.json", "projection_class_embeddings_input_dim", -1},
      {"unet/config.json", "transformer_layers_per_block", {1, 3}},
      {"unet/config.json", "transformer_layers_per_block", {1, 2, 3}},
      {"unet/config.json", "transformer_layers_per_block", {1, 1000000000}},
      {"unet/config.json", "transformer_layers_per_block", {1, {2}}},
      {"unet/config.json", "reverse_transformer_layers_per_block", {1}},
      {"unet/config.json", "reverse_transformer_layers_per_block", {{2, 2, 2}, 1}},
      {"unet/config.json", "reverse_transformer_layers_per_block", "x"},
      {"unet/config.json", "mid_block_type", "UNetMidBlock2DSimpleCrossAttn"},
      {"unet/config.json", "cross_attention_dim", 32},
      {"text_encoder/config.json", "hidden_size", 48},
      {"text_encoder_2/config.json", "projection_dim", 48},
      {"text_encoder_2/config.json", "projection_dim", 0},
      {"text_encoder_2/config.json", "num_hidden_layers", 5},
      {"vae/config.json", "force_upcast", "yes"},
      {"vae/config.json", "latents_mean", {0.1, 0.2, 0.3, 0.4}},
      {"vae/config.json", "latents_std", {1, 2}},
      {"vae/config.json", "latents_std", "x"},
      {"scheduler/scheduler_config.json", "num_train_timesteps", 0},
      {"tokenizer_2/special_tokens_map.json", "bos_token", "<none>"},
  };
}

std::vector<ConfigDamage> flux() {
  return {
      {"model_index.json", "text_encoder_2", {"transformers", "CLIPTextModel"}},
      {"model_index.json", "tokenizer_2", {"transformers", "CLIPTokenizer"}},
      {"model_index.json", "transformer", {"diffusers", "SD3Transformer2DModel"}},
      {"model_index.json", "scheduler", {"diffusers", "PNDMScheduler"}},
      {"transformer/config.json", "patch_size", 2},
      {"transformer/config.json", "in_channels", 18},
      {"transformer/config.json", "in_channels", 32},
      {"transformer/config.json", "num_layers", 7},
      {"transformer/config.json", "num_single_layers", 100000},
      {"transformer/config.json", "attention_head_dim", 18},
      {"transformer/config.json", "num_attention_heads", 3},
      {"transformer/config.json", "joint_attention_dim", 33},
      {"transformer/config.json", "pooled_projection_dim", 31},
      {"transformer/config.json", "guidance_embeds", "yes"},
      {"transformer/config.json", "axes_dims_rope", {16}},
      {"transformer/config.json", "axes_dims_rope", {3, 7, 6}},
      {"text_encoder_2/config.json", "d_model", 64},
      {"text_encoder_2/config.json", "d_kv", 0},
      {"text_encoder_2/config.json", "num_layers", 9},
      {"text_encoder_2/config.json", "num_heads", 3},
      {"text_encoder_2/config.json", "vocab_size", 10},
      {"text_encoder_2/config.json", "feed_forward_proj", "gated-magic"},
      {"text_encoder_2/config.json", "relative_attention_num_buckets", 2},
      {"text_encoder_2/config.json", "relative_attention_max_distance", 8},
      {"vae/config.json", "latent_channels", 8},
      {"vae/config.json", "shift_factor", "x"},
      {"scheduler/scheduler_config.json", "shift", 0},
      {"scheduler/scheduler_config.json", "time_shift_type", "magic"},
      {"scheduler/scheduler_config.json", "max_image_seq_len", 256},
      {"scheduler/scheduler_config.json", "num_train_timesteps", -1},
      {"scheduler/scheduler_config.json", "shift_terminal", 2},
      {"tokenizer_2/special_tokens_map.json", "eos_token", "<none>"},
  };
}

}  // namespace

const std::vector<DamagedFamily>& damaged_families() {
  static const std::vector<DamagedFamily> all = {
      {"StableDiffusion", "sd15-fp16", "fp16", stable_diffusion()},
      {"StableDiffusionXL", "sdxl-no-zeros", "", stable_diffusion_xl()},
      {"Flux", "flux-dev-sharded", "", flux()},
  };
  return all;
}

}  // namespace diffract::test
