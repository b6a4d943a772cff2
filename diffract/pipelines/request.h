#pragma once
#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/image.h"
#include "diffract/pipelines/input_picture.h"

namespace diffract::pipelines {

enum class OutputType { image, latent };

/// A size as [height, width], or a corner as [top, left].
using HeightWidth = std::array<int64_t, 2>;

inline constexpr int64_t kMostPixels = 16'384;   // each way
inline constexpr int64_t kMostImages = 1 << 16;  // of a request

/// One call of a pipeline; the fields are the arguments of diffusers' `__call__`. What is unset gets the
/// pipeline's own default; what a pipeline does not have is refused with UsageError rather than ignored, and
/// what another argument leaves without effect is said in a warning.
struct Request {
  std::vector<std::string> prompt;             // at least one (or prompt_embeds), UTF-8, taken as they are
  std::vector<std::string> prompt_2;           // for a second text encoder: none, one for all, or one each
  std::vector<std::string> negative_prompt;    // none, one for all, or one each
  std::vector<std::string> negative_prompt_2;  // the same, for a second text encoder
  // A picture that the image begins with, and which part of it is painted anew (white): none, one for all
  // prompts, or one each. They make the request image to image, or inpainting.
  std::vector<InputPicture> image, mask_image;
  // Pictures that are a part of the prompt: for all images of the request, as many for each IP-Adapter that
  // the pipeline was loaded with, one after the other; and how much they count: one number for all of them,
  // or one each; unset: 1.
  std::vector<InputPicture> ip_adapter_image;
  std::vector<double> ip_adapter_scale;
  std::optional<double> strength;            // how much of the walk from noise is made, in [0, 1]
  std::optional<int64_t> padding_mask_crop;  // pixels around the mask that are drawn in the model's full size
  // What ControlNets follow: one for each ControlNet, or one for each of every prompt, prompt by prompt.
  std::vector<InputPicture> control_image;
  std::vector<std::string> control_preprocessor;  // one for all, or one each: ControlPreprocessor::parse's
  // One for all ControlNets, or one each: how much they move, and the share of the walk in which they do.
  std::vector<double> controlnet_conditioning_scale;
  std::vector<double> control_guidance_start, control_guidance_end;  // in [0, 1]; default: 0 and 1
  bool guess_mode = false;  // the ControlNets act where there is no prompt too, and not on the negative one
  std::string pipeline;     // diffusers' class to run as; empty: the one that the inputs ask for
  std::optional<int64_t> num_inference_steps;
  std::optional<double> guidance_scale;
  std::optional<double> true_cfg_scale;
  std::optional<double> guidance_rescale;  // in [0, 1]
  std::optional<int64_t> height, width;    // pixels
  std::optional<int64_t> max_sequence_length;
  std::optional<int64_t> clip_skip;
  // In [0, 1]: the share of the walk where it stops, and where it goes on with the latents of another model.
  std::optional<double> denoising_end, denoising_start;
  // Stable Diffusion XL's sizes in pixels, of the picture that a crop was made from and of the picture.
  std::optional<HeightWidth> original_size, crops_coords_top_left, target_size;
  std::optional<HeightWidth> negative_original_size, negative_crops_coords_top_left, negative_target_size;
  std::optional<double> aesthetic_score, negative_aesthetic_score;  // a refiner's, of the picture
  double eta = 0.0;                                                 // DDIM's and TCD's, in [0, 1]
  // The walk's own schedule in place of num_inference_steps, for schedulers that take one; one of the two.
  std::vector<double> timesteps, sigmas;
  int64_t num_images_per_prompt = 1;
  std::optional<uint64_t> seed;  // image i draws its noise from a generator of seed + i; unset: 0
  std::vector<uint64_t> seeds;   // one an image, instead of seed + i, when not empty
  // What the noise is drawn in. diffusers draws in the pipeline's torch_dtype, and torch's generator gives
  // other numbers in each: float16 here and there is the same picture. float32: the same picture for every
  // dtype.
  at::ScalarType noise_dtype = at::kFloat;
  // Another scheduler than the pipeline's, and keys of its config to change, as set_scheduler takes them.
  std::string scheduler;
  Json scheduler_config = Json::object();
  OutputType output_type = OutputType::image;
  // Instead of prompts, as encode_prompt gave them, one row an image.
  at::Tensor prompt_embeds, pooled_prompt_embeds;                    // [B, T, D], [B, D']
  at::Tensor negative_prompt_embeds, negative_pooled_prompt_embeds;  // the same shapes

  /// The steps that it asks for, by number or by a schedule of its own.
  std::optional<int64_t> steps() const {
    const size_t own = timesteps.empty() ? sigmas.size() : timesteps.size();
    return own > 0 ? std::optional(static_cast<int64_t>(own)) : num_inference_steps;
  }
  size_t image_count() const {
    if (prompt_embeds.defined())
      return static_cast<size_t>(prompt_embeds.dim() > 0 ? prompt_embeds.size(0) : 0);
    return prompt.size() * static_cast<size_t>(num_images_per_prompt);
  }
};

/// Pictures that may be on their way from an accelerator: waits for them. To be called once, in any thread.
/// Throws CheckpointError for values that are not finite.
using ArrivingImages = std::function<std::vector<io::Image>()>;

struct Output {
  std::vector<io::Image> images;  // prompt by prompt; empty for OutputType::latent
  at::Tensor latents;             // the final latents as diffusers returns them for output_type="latent"
  ArrivingImages arriving = {};   // what Pipeline::begin gives in place of the images
  // Which images the checkpoint's safety checker held back, so that they are black; empty without one.
  std::vector<bool> nsfw_content_detected = {};
};

/// What an observer is shown after each step of the denoise loop.
struct StepReport {
  size_t index;               // from 0
  size_t count;               // of steps in all
  double timestep;            // as the model was told
  const at::Tensor& latents;  // after the step
};

/// Called after each step: progress, previews, timing. It may throw Cancelled, which ends the call.
using StepObserver = std::function<void(const StepReport&)>;

}  // namespace diffract::pipelines
