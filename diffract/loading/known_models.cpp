#include "diffract/loading/known_models.h"

#include "diffract/core/lower_case.h"

namespace diffract::loading {
namespace {

constexpr std::string_view kStableDiffusion = "StableDiffusionPipeline", kFlux = "FluxPipeline";

struct Repository {
  std::string_view name, class_name;
};

// The repositories that people ask for most, so that nobody downloads gigabytes to learn that they do not
// run.
constexpr std::string_view kXl = "StableDiffusionXLPipeline", kSd3 = "StableDiffusion3Pipeline",
                           kInpaint = "StableDiffusionInpaintPipeline",
                           kXlInpaint = "StableDiffusionXLInpaintPipeline",
                           kXlRefiner = "StableDiffusionXLImg2ImgPipeline";
constexpr Repository kRepositories[] = {
    {"stable-diffusion-v1-5/stable-diffusion-v1-5", kStableDiffusion},
    {"runwayml/stable-diffusion-v1-5", kStableDiffusion},
    {"compvis/stable-diffusion-v1-4", kStableDiffusion},
    {"stabilityai/stable-diffusion-2", kStableDiffusion},
    {"stabilityai/stable-diffusion-2-base", kStableDiffusion},
    {"stabilityai/stable-diffusion-2-1", kStableDiffusion},
    {"stabilityai/stable-diffusion-2-1-base", kStableDiffusion},
    {"stabilityai/sd-turbo", kStableDiffusion},
    {"lykon/dreamshaper-8", kStableDiffusion},
    {"black-forest-labs/flux.1-dev", kFlux},
    {"black-forest-labs/flux.1-schnell", kFlux},
    {"black-forest-labs/flux.1-krea-dev", kFlux},
    {"stable-diffusion-v1-5/stable-diffusion-inpainting", kInpaint},
    {"runwayml/stable-diffusion-inpainting", kInpaint},
    {"stabilityai/stable-diffusion-2-inpainting", kInpaint},
    {"stabilityai/stable-diffusion-2-depth", "StableDiffusionDepth2ImgPipeline"},
    {"stabilityai/stable-diffusion-x4-upscaler", "StableDiffusionUpscalePipeline"},
    {"timbrooks/instruct-pix2pix", "StableDiffusionInstructPix2PixPipeline"},
    {"stabilityai/stable-diffusion-xl-base-1.0", kXl},
    {"stabilityai/stable-diffusion-xl-refiner-1.0", kXlRefiner},
    {"stabilityai/sdxl-turbo", kXl},
    {"segmind/ssd-1b", kXl},
    {"lykon/dreamshaper-xl-1-0", kXl},
    {"playgroundai/playground-v2.5-1024px-aesthetic", kXl},
    {"diffusers/stable-diffusion-xl-1.0-inpainting-0.1", kXlInpaint},
    {"stabilityai/stable-cascade", "StableCascadeDecoderPipeline"},
    {"stabilityai/stable-diffusion-3-medium-diffusers", kSd3},
    {"stabilityai/stable-diffusion-3.5-medium", kSd3},
    {"stabilityai/stable-diffusion-3.5-large", kSd3},
    {"stabilityai/stable-diffusion-3.5-large-turbo", kSd3},
    {"stabilityai/stable-video-diffusion-img2vid-xt", "StableVideoDiffusionPipeline"},
    {"black-forest-labs/flux.1-fill-dev", "FluxFillPipeline"},
    {"black-forest-labs/flux.1-kontext-dev", "FluxKontextPipeline"},
    {"black-forest-labs/flux.1-canny-dev", "FluxControlPipeline"},
    {"black-forest-labs/flux.1-depth-dev", "FluxControlPipeline"},
    {"black-forest-labs/flux.1-redux-dev", "FluxPriorReduxPipeline"},
    {"black-forest-labs/flux.2-dev", "Flux2Pipeline"},
    {"black-forest-labs/flux.2-klein-4b", "Flux2KleinPipeline"},
    {"qwen/qwen-image", "QwenImagePipeline"},
    {"qwen/qwen-image-edit", "QwenImageEditPipeline"},
    {"tongyi-mai/z-image-turbo", "ZImagePipeline"},
    {"pixart-alpha/pixart-xl-2-1024-ms", "PixArtAlphaPipeline"},
    {"pixart-alpha/pixart-sigma-xl-2-1024-ms", "PixArtSigmaPipeline"},
    {"kandinsky-community/kandinsky-2-1", "KandinskyPipeline"},
    {"kandinsky-community/kandinsky-2-2-decoder", "KandinskyV22Pipeline"},
    {"kandinsky-community/kandinsky-3", "Kandinsky3Pipeline"},
    {"tencent-hunyuan/hunyuandit-v1.2-diffusers", "HunyuanDiTPipeline"},
    {"thudm/cogview3-plus-3b", "CogView3PlusPipeline"},
    {"fal/auraflow", "AuraFlowPipeline"},
    {"deepfloyd/if-i-xl-v1.0", "IFPipeline"},
};

}  // namespace

std::string_view class_of_repository(const std::string& repository) {
  const std::string name = lower_case(repository);  // the hub takes either case
  for (const Repository& known : kRepositories)
    if (known.name == name) return known.class_name;
  return {};
}

}  // namespace diffract::loading
