#pragma once
#include "diffract/loading/family_facts.h"

namespace diffract::families {

inline constexpr std::string_view kRunAsStableDiffusionXL[] = {
    "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusionXLPAGPipeline",
    "StableDiffusionXLPAGImg2ImgPipeline", "StableDiffusionXLPAGInpaintPipeline"};
inline constexpr std::string_view kStableDiffusionXLTakes[] = {"negative_prompt",
                                                               "prompt_2",
                                                               "negative_prompt_2",
                                                               "guidance_rescale",
                                                               "clip_skip",
                                                               "eta",
                                                               "denoising_end",
                                                               "original_size",
                                                               "crops_coords_top_left",
                                                               "target_size",
                                                               "negative_original_size",
                                                               "negative_crops_coords_top_left",
                                                               "negative_target_size",
                                                               "aesthetic_score",
                                                               "negative_aesthetic_score",
                                                               "prompt_embeds"};
inline constexpr loading::FamilyFacts kStableDiffusionXL = {.class_name = "StableDiffusionXLPipeline",
                                                            .models = "Stable Diffusion XL",
                                                            .runs_too = kRunAsStableDiffusionXL,
                                                            .denoiser = "unet",
                                                            .denoiser_class = "UNet2DConditionModel",
                                                            .num_inference_steps = 50,
                                                            .guidance_scale = 5.0,
                                                            .sample_size = 128,
                                                            .latents_a_token = 1,
                                                            .residency = placement::Residency::all,
                                                            .path = schedulers::Path::diffusion,
                                                            .scheduler = "EulerDiscreteScheduler",
                                                            .takes = kStableDiffusionXLTakes,
                                                            .heeds_force_upcast = true};

}  // namespace diffract::families
