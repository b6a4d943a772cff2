#pragma once
#include <algorithm>
#include <array>

#include "diffract/loading/family_facts.h"

namespace diffract::families {

inline constexpr std::string_view kRunAsStableDiffusionXL[] = {"StableDiffusionXLPAGPipeline",
                                                               "StableDiffusionXLPAGImg2ImgPipeline",
                                                               "StableDiffusionXLPAGInpaintPipeline"};

inline constexpr std::array<std::string_view, 18> kStableDiffusionXLTakes = {"negative_prompt",
                                                                             "prompt_2",
                                                                             "negative_prompt_2",
                                                                             "guidance_rescale",
                                                                             "clip_skip",
                                                                             "eta",
                                                                             "timesteps",
                                                                             "sigmas",
                                                                             "denoising_end",
                                                                             "original_size",
                                                                             "crops_coords_top_left",
                                                                             "target_size",
                                                                             "negative_original_size",
                                                                             "negative_crops_coords_top_left",
                                                                             "negative_target_size",
                                                                             "prompt_embeds",
                                                                             "ip_adapter_image",
                                                                             "ip_adapter_scale"};
// And what a picture brings.
template <size_t kMore>
constexpr auto with_picture(const std::array<std::string_view, kMore>& more) {
  std::array<std::string_view, kStableDiffusionXLTakes.size() + kMore> all;
  auto end = std::copy(kStableDiffusionXLTakes.begin(), kStableDiffusionXLTakes.end(), all.begin());
  std::copy(more.begin(), more.end(), end);
  return all;
}
inline constexpr auto kStableDiffusionXLImg2ImgTakes =
    with_picture<5>({"image", "strength", "denoising_start", "aesthetic_score", "negative_aesthetic_score"});
inline constexpr auto kStableDiffusionXLInpaintTakes = with_picture<6>(
    {"image", "mask_image", "strength", "padding_mask_crop", "aesthetic_score", "negative_aesthetic_score"});
// The classes with ControlNets take less of the rest.
inline constexpr std::string_view kStableDiffusionXLControlNetTakes[] = {"negative_prompt",
                                                                         "prompt_2",
                                                                         "negative_prompt_2",
                                                                         "clip_skip",
                                                                         "eta",
                                                                         "timesteps",
                                                                         "sigmas",
                                                                         "denoising_end",
                                                                         "original_size",
                                                                         "crops_coords_top_left",
                                                                         "target_size",
                                                                         "negative_original_size",
                                                                         "negative_crops_coords_top_left",
                                                                         "negative_target_size",
                                                                         "prompt_embeds",
                                                                         "control_image",
                                                                         "control_preprocessor",
                                                                         "controlnet_conditioning_scale",
                                                                         "control_guidance_start",
                                                                         "control_guidance_end",
                                                                         "guess_mode",
                                                                         "ip_adapter_image",
                                                                         "ip_adapter_scale"};
inline constexpr std::string_view kStableDiffusionXLControlNetImg2ImgTakes[] = {
    "negative_prompt",
    "prompt_2",
    "negative_prompt_2",
    "clip_skip",
    "eta",
    "original_size",
    "crops_coords_top_left",
    "target_size",
    "negative_original_size",
    "negative_crops_coords_top_left",
    "negative_target_size",
    "aesthetic_score",
    "negative_aesthetic_score",
    "prompt_embeds",
    "image",
    "strength",
    "control_image",
    "control_preprocessor",
    "controlnet_conditioning_scale",
    "control_guidance_start",
    "control_guidance_end",
    "guess_mode",
    "ip_adapter_image",
    "ip_adapter_scale"};
inline constexpr std::string_view kStableDiffusionXLControlNetInpaintTakes[] = {
    "negative_prompt",
    "prompt_2",
    "negative_prompt_2",
    "guidance_rescale",
    "clip_skip",
    "eta",
    "denoising_end",
    "original_size",
    "crops_coords_top_left",
    "target_size",
    "aesthetic_score",
    "negative_aesthetic_score",
    "prompt_embeds",
    "image",
    "mask_image",
    "strength",
    "padding_mask_crop",
    "control_image",
    "control_preprocessor",
    "controlnet_conditioning_scale",
    "control_guidance_start",
    "control_guidance_end",
    "guess_mode",
    "ip_adapter_image",
    "ip_adapter_scale"};
inline constexpr loading::TaskClass kStableDiffusionXLTasks[] = {
    {.class_name = "StableDiffusionXLImg2ImgPipeline",
     .kind = loading::TaskKind::image_to_image,
     .takes = kStableDiffusionXLImg2ImgTakes,
     .strength = 0.3,
     .keeps_picture_size = true},
    {.class_name = "StableDiffusionXLInpaintPipeline",
     .kind = loading::TaskKind::inpainting,
     .takes = kStableDiffusionXLInpaintTakes,
     .strength = 0.9999,
     .guidance_scale = 7.5},
    {.class_name = "StableDiffusionXLControlNetPipeline",
     .kind = loading::TaskKind::text_to_image,
     .takes = kStableDiffusionXLControlNetTakes,
     .is_controlled = true,
     .controlnet_conditioning_scale = 1.0},
    {.class_name = "StableDiffusionXLControlNetImg2ImgPipeline",
     .kind = loading::TaskKind::image_to_image,
     .takes = kStableDiffusionXLControlNetImg2ImgTakes,
     .strength = 0.8,
     .is_controlled = true,
     .controlnet_conditioning_scale = 0.8},
    {.class_name = "StableDiffusionXLControlNetInpaintPipeline",
     .kind = loading::TaskKind::inpainting,
     .takes = kStableDiffusionXLControlNetInpaintTakes,
     .strength = 0.9999,
     .is_controlled = true,
     .controlnet_conditioning_scale = 1.0}};
inline constexpr loading::LoraPrefix kStableDiffusionXLLora[] = {{"", "unet"},
                                                                 {"unet.", "unet"},
                                                                 {"lora_unet_", "unet"},
                                                                 {"base_model.model.", "unet"},
                                                                 {"text_encoder.", "text_encoder"},
                                                                 {"text_encoder_2.", "text_encoder_2"},
                                                                 {"transformer.", ""},  // of another family
                                                                 {"lora_te_", "text_encoder"},
                                                                 {"lora_te1_", "text_encoder"},
                                                                 {"lora_te2_", "text_encoder_2"}};
/// kohya's trainer has the names of the original checkpoint.
std::vector<loading::LoraShare> stable_diffusion_xl_lora_shares(const std::string& module,
                                                                const ConfigReader& unet);
inline constexpr loading::TextualInversionPlace kStableDiffusionXLTokens[] = {{"text_encoder", "clip_l"},
                                                                              {"text_encoder_2", "clip_g"}};
inline constexpr loading::SingleFilePart kStableDiffusionXLParts[] = {
    {"unet", "model.diffusion_model."},
    {"vae", "vae."},
    {"vae", "first_stage_model."},
    {"text_encoder", "conditioner.embedders.0.transformer."},
    {"text_encoder_2", "conditioner.embedders.1.model."},
    {"text_encoder_2", "conditioner.embedders.0.model."}};  // a refiner's
inline constexpr loading::SingleFileKind kStableDiffusionXLFiles[] = {
    {.name = "Stable Diffusion XL",
     .text_encoder = "conditioner.embedders.1.model.",
     .text_width = 2048,
     .channels = 4,
     .repository = "stabilityai/stable-diffusion-xl-base-1.0"},
    {.name = "Stable Diffusion XL for inpainting",
     .text_encoder = "conditioner.embedders.1.model.",
     .text_width = 2048,
     .channels = 9,
     .repository = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"},
    {.name = "Stable Diffusion XL refiner",
     .text_encoder = "conditioner.embedders.0.model.",
     .text_width = 1280,
     .channels = 4,
     .repository = "stabilityai/stable-diffusion-xl-refiner-1.0"}};
inline constexpr loading::FamilyFacts kStableDiffusionXL = {.class_name = "StableDiffusionXLPipeline",
                                                            .models = "Stable Diffusion XL",
                                                            .runs_too = kRunAsStableDiffusionXL,
                                                            .denoiser = "unet",
                                                            .denoiser_class = "UNet2DConditionModel",
                                                            .num_inference_steps = 50,
                                                            .guidance_scale = 5.0,
                                                            .sample_size = 128,
                                                            .latents_a_token = 1,
                                                            .lifetime = placement::Lifetime::whole_job,
                                                            .path = schedulers::Path::diffusion,
                                                            .scheduler = "EulerDiscreteScheduler",
                                                            .takes = kStableDiffusionXLTakes,
                                                            .tasks = kStableDiffusionXLTasks,
                                                            .has_previews = true,
                                                            .heeds_force_upcast = true,
                                                            .lora_prefixes = kStableDiffusionXLLora,
                                                            .lora_shares = stable_diffusion_xl_lora_shares,
                                                            .textual_inversion = kStableDiffusionXLTokens,
                                                            .controlnet_class = "ControlNetModel",
                                                            .takes_ip_adapters = true,
                                                            .single_file_parts = kStableDiffusionXLParts,
                                                            .single_file_kinds = kStableDiffusionXLFiles};

}  // namespace diffract::families
