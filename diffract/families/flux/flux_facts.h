#pragma once
#include "diffract/loading/family_facts.h"

namespace diffract::families {

inline constexpr std::string_view kRunAsFlux[] = {"FluxImg2ImgPipeline", "FluxInpaintPipeline"};
inline constexpr std::string_view kFluxTakes[] = {"negative_prompt",     "prompt_2",      "true_cfg_scale",
                                                  "max_sequence_length", "prompt_embeds", "sigmas"};
inline constexpr loading::LoraPrefix kFluxLora[] = {{"", "transformer"},
                                                    {"transformer.", "transformer"},
                                                    {"lora_unet_", "transformer"},
                                                    {"lora_transformer_", "transformer"},
                                                    {"diffusion_model.", "transformer"},
                                                    {"base_model.model.", "transformer"},
                                                    {"text_encoder.", "text_encoder"},
                                                    {"lora_te_", "text_encoder"},
                                                    {"lora_te1_", "text_encoder"},
                                                    {"unet.", ""},  // of other families
                                                    {"lora_te2_", ""}};
/// For LoRAs that name the original checkpoint's modules: "double_blocks_0_img_attn_qkv".
std::vector<loading::LoraShare> flux_lora_shares(const std::string& module, const ConfigReader& denoiser);
inline constexpr loading::FamilyFacts kFlux = {.class_name = "FluxPipeline",
                                               .models = "FLUX.1",
                                               .runs_too = kRunAsFlux,
                                               .denoiser = "transformer",
                                               .denoiser_class = "FluxTransformer2DModel",
                                               .num_inference_steps = 28,
                                               .guidance_scale = 3.5,
                                               .sample_size = 128,
                                               .latents_a_token = 2,
                                               .lifetime = placement::Lifetime::stage,
                                               .path = schedulers::Path::flow,
                                               .scheduler = "FlowMatchEulerDiscreteScheduler",
                                               .takes = kFluxTakes,
                                               .has_float8 = true,
                                               .lora_prefixes = kFluxLora,
                                               .lora_shares = flux_lora_shares};

}  // namespace diffract::families
