#pragma once
#include "diffract/loading/family_facts.h"

namespace diffract::families {

inline constexpr std::string_view kRunAsStableDiffusion[] = {
    "StableDiffusionInpaintPipelineLegacy", "StableDiffusionAttendAndExcitePipeline",
    "StableDiffusionPAGPipeline",           "StableDiffusionPAGImg2ImgPipeline",
    "StableDiffusionPAGInpaintPipeline",    "StableDiffusionPanoramaPipeline",
    "StableDiffusionSAGPipeline",           "CycleDiffusionPipeline"};
inline constexpr std::string_view kStableDiffusionTakes[] = {
    "negative_prompt", "guidance_rescale", "clip_skip", "eta", "timesteps", "sigmas"};
inline constexpr std::string_view kStableDiffusionImg2ImgTakes[] = {
    "negative_prompt", "clip_skip", "eta", "timesteps", "sigmas", "image", "strength"};
inline constexpr std::string_view kStableDiffusionInpaintTakes[] = {
    "negative_prompt", "clip_skip",  "eta",      "timesteps",        "sigmas",
    "image",           "mask_image", "strength", "padding_mask_crop"};
inline constexpr std::string_view kStableDiffusionControlNetTakes[] = {"negative_prompt",
                                                                       "clip_skip",
                                                                       "eta",
                                                                       "timesteps",
                                                                       "sigmas",
                                                                       "control_image",
                                                                       "control_preprocessor",
                                                                       "controlnet_conditioning_scale",
                                                                       "control_guidance_start",
                                                                       "control_guidance_end",
                                                                       "guess_mode"};
inline constexpr std::string_view kStableDiffusionControlNetImg2ImgTakes[] = {"negative_prompt",
                                                                              "clip_skip",
                                                                              "eta",
                                                                              "image",
                                                                              "strength",
                                                                              "control_image",
                                                                              "control_preprocessor",
                                                                              "controlnet_conditioning_scale",
                                                                              "control_guidance_start",
                                                                              "control_guidance_end",
                                                                              "guess_mode"};
inline constexpr std::string_view kStableDiffusionControlNetInpaintTakes[] = {"negative_prompt",
                                                                              "clip_skip",
                                                                              "eta",
                                                                              "image",
                                                                              "mask_image",
                                                                              "strength",
                                                                              "padding_mask_crop",
                                                                              "control_image",
                                                                              "control_preprocessor",
                                                                              "controlnet_conditioning_scale",
                                                                              "control_guidance_start",
                                                                              "control_guidance_end",
                                                                              "guess_mode"};
inline constexpr loading::TaskClass kStableDiffusionTasks[] = {
    {.class_name = "StableDiffusionImg2ImgPipeline",
     .kind = loading::TaskKind::image_to_image,
     .takes = kStableDiffusionImg2ImgTakes,
     .strength = 0.8,
     .keeps_picture_size = true},
    {.class_name = "StableDiffusionInpaintPipeline",
     .kind = loading::TaskKind::inpainting,
     .takes = kStableDiffusionInpaintTakes,
     .strength = 1.0},
    {.class_name = "StableDiffusionControlNetPipeline",
     .kind = loading::TaskKind::text_to_image,
     .takes = kStableDiffusionControlNetTakes,
     .is_controlled = true,
     .controlnet_conditioning_scale = 1.0},
    {.class_name = "StableDiffusionControlNetImg2ImgPipeline",
     .kind = loading::TaskKind::image_to_image,
     .takes = kStableDiffusionControlNetImg2ImgTakes,
     .strength = 0.8,
     .is_controlled = true,
     .controlnet_conditioning_scale = 0.8},
    {.class_name = "StableDiffusionControlNetInpaintPipeline",
     .kind = loading::TaskKind::inpainting,
     .takes = kStableDiffusionControlNetInpaintTakes,
     .strength = 1.0,
     .is_controlled = true,
     .controlnet_conditioning_scale = 0.5}};
inline constexpr loading::LoraPrefix kStableDiffusionLora[] = {{"", "unet"},
                                                               {"unet.", "unet"},
                                                               {"lora_unet_", "unet"},
                                                               {"base_model.model.", "unet"},
                                                               {"text_encoder.", "text_encoder"},
                                                               {"text_encoder_2.", ""},  // of another family
                                                               {"transformer.", ""},
                                                               {"lora_te_", "text_encoder"},
                                                               {"lora_te1_", "text_encoder"},
                                                               {"lora_te2_", ""}};
inline constexpr loading::TextualInversionPlace kStableDiffusionTokens[] = {{"text_encoder", ""}};
inline constexpr loading::SingleFilePart kStableDiffusionParts[] = {
    {"unet", "model.diffusion_model."},
    {"vae", "vae."},
    {"vae", "first_stage_model."},
    {"text_encoder", "cond_stage_model.transformer."},  // of transformers
    {"text_encoder", "cond_stage_model.model."}};       // of OpenCLIP
inline constexpr loading::SingleFileKind kStableDiffusionFiles[] = {
    {.name = "Stable Diffusion 1.x",
     .text_encoder = "cond_stage_model.transformer.",
     .text_width = 768,
     .channels = 4,
     .repository = "stable-diffusion-v1-5/stable-diffusion-v1-5"},
    {.name = "Stable Diffusion 1.x for inpainting",
     .text_encoder = "cond_stage_model.transformer.",
     .text_width = 768,
     .channels = 9,
     .repository = "stable-diffusion-v1-5/stable-diffusion-inpainting"},
    {.name = "Stable Diffusion 2.x",
     .text_encoder = "cond_stage_model.model.",
     .text_width = 1024,
     .channels = 4,
     .repository = "stabilityai/stable-diffusion-2-1"},
    {.name = "Stable Diffusion 2.x for inpainting",
     .text_encoder = "cond_stage_model.model.",
     .text_width = 1024,
     .channels = 9,
     .repository = "stabilityai/stable-diffusion-2-inpainting"}};
inline constexpr loading::FamilyFacts kStableDiffusion = {.class_name = "StableDiffusionPipeline",
                                                          .models = "Stable Diffusion 1.x and 2.x",
                                                          .runs_too = kRunAsStableDiffusion,
                                                          .denoiser = "unet",
                                                          .denoiser_class = "UNet2DConditionModel",
                                                          .num_inference_steps = 50,
                                                          .guidance_scale = 7.5,
                                                          .sample_size = 64,
                                                          .latents_a_token = 1,
                                                          .lifetime = placement::Lifetime::whole_job,
                                                          .path = schedulers::Path::diffusion,
                                                          .scheduler = "DPMSolverMultistepScheduler",
                                                          .takes = kStableDiffusionTakes,
                                                          .tasks = kStableDiffusionTasks,
                                                          .has_previews = true,
                                                          .lora_prefixes = kStableDiffusionLora,
                                                          .textual_inversion = kStableDiffusionTokens,
                                                          .controlnet_class = "ControlNetModel",
                                                          .has_safety_checker = true,
                                                          .single_file_parts = kStableDiffusionParts,
                                                          .single_file_kinds = kStableDiffusionFiles};

}  // namespace diffract::families
