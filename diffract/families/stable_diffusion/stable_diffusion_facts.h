#pragma once
#include "diffract/loading/family_facts.h"

namespace diffract::families {

inline constexpr std::string_view kRunAsStableDiffusion[] = {
    "StableDiffusionImg2ImgPipeline",       "StableDiffusionInpaintPipeline",
    "StableDiffusionInpaintPipelineLegacy", "StableDiffusionAttendAndExcitePipeline",
    "StableDiffusionPAGPipeline",           "StableDiffusionPAGImg2ImgPipeline",
    "StableDiffusionPAGInpaintPipeline",    "StableDiffusionPanoramaPipeline",
    "StableDiffusionSAGPipeline",           "CycleDiffusionPipeline"};
inline constexpr std::string_view kStableDiffusionTakes[] = {
    "negative_prompt", "guidance_rescale", "clip_skip", "eta", "timesteps", "sigmas"};
inline constexpr loading::FamilyFacts kStableDiffusion = {.class_name = "StableDiffusionPipeline",
                                                          .models = "Stable Diffusion 1.x and 2.x",
                                                          .runs_too = kRunAsStableDiffusion,
                                                          .denoiser = "unet",
                                                          .denoiser_class = "UNet2DConditionModel",
                                                          .num_inference_steps = 50,
                                                          .guidance_scale = 7.5,
                                                          .sample_size = 64,
                                                          .latents_a_token = 1,
                                                          .residency = placement::Residency::all,
                                                          .path = schedulers::Path::diffusion,
                                                          .scheduler = "DPMSolverMultistepScheduler",
                                                          .takes = kStableDiffusionTakes};

}  // namespace diffract::families
