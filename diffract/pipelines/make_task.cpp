#include "diffract/pipelines/make_task.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/pipelines/denoise.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::pipelines {
namespace {

using at::Tensor;
using loading::TaskKind;

// Rows of the P different pictures, one an image.
Tensor one_an_image(const Tensor& rows, const TaskInputs& inputs) {
  return rows.index_select(0, at::tensor(inputs.of_image, at::kLong));
}

class Maker {
 public:
  Maker(const TaskInputs& inputs, const TaskModels& models, const schedulers::NoiseSource& draw)
      : inputs_(inputs), models_(models), draw_(draw) {}

  Tensor sample(const Tensor& pixels) const {
    const models::LatentDistribution found = models_.encode(tensor::send_to(pixels, models_.device));
    const Tensor index = tensor::send_to(at::tensor(inputs_.of_image, at::kLong), models_.device);
    const auto one_an_image = [&](const Tensor& rows) { return rows.index_select(0, index); };
    Tensor sampled = one_an_image(found.mean);
    if (found.is_drawn_from())
      sampled =
          models::LatentDistribution{.mean = sampled, .logvar = one_an_image(found.logvar)}.sample(draw_());
    // Of diffusers' classes only image to image heeds the VAE's latents_mean and latents_std here.
    if (inputs_.task.kind == TaskKind::image_to_image) return models_.scaled(sampled);
    return sampled * models_.scaling_factor;
  }
  Tensor given() const { return tensor::send_to(one_an_image(inputs_.latents, inputs_), models_.device); }
  // The upper left pixel of each latent, as torch's nearest interpolation takes it.
  Tensor latent_mask() const {
    const int64_t step = models_.vae_scale_factor;
    const Tensor mask = inputs_.mask.slice(2, 0, std::nullopt, step).slice(3, 0, std::nullopt, step);
    return tensor::send_to(one_an_image(mask, inputs_), models_.device);
  }

 private:
  const TaskInputs& inputs_;
  const TaskModels& models_;
  const schedulers::NoiseSource& draw_;
};

}  // namespace

void check_denoiser(const TaskInputs& inputs, const TaskModels& models) {
  if (models.reads_mask() && inputs.task.kind != TaskKind::inpainting)
    throw UsageError(
        "mask_image: this model paints parts of pictures anew, as its {} input channels say; give a picture "
        "with --image and a mask with --mask-image",
        models.denoiser_channels);
  if (inputs.latents.defined() && inputs.latents.size(1) != models.latent_channels)
    throw UsageError("image: the latents have {} channels; this model's have {}", inputs.latents.size(1),
                     models.latent_channels);
}

void begin_walk(schedulers::Schedule& schedule, const TaskInputs& inputs, int64_t steps,
                int64_t num_train_timesteps) {
  if (inputs.task.kind == TaskKind::text_to_image) return;
  if (divides_walk(inputs.denoising_start)) {
    const auto& timesteps = schedule.timesteps();
    const size_t done = steps_until(inputs.denoising_start, timesteps, num_train_timesteps);
    size_t left = timesteps.size() - done;
    if (schedule.order() == 2 && left % 2 == 0) ++left;  // from the first evaluation of a step
    left = std::min(left, timesteps.size());
    if (done == timesteps.size())
      throw UsageError("denoising_start {}: leaves no step of {}", *inputs.denoising_start, steps);
    schedule.begin_at(timesteps.size() - left);
    return;
  }
  const int64_t kept = std::min(static_cast<int64_t>(static_cast<double>(steps) * inputs.strength), steps);
  if (kept < 1)
    throw UsageError("strength {}: leaves no step of {}; take more of either", inputs.strength, steps);
  const size_t begin = static_cast<size_t>(steps - kept) * schedule.order();
  if (begin >= schedule.timesteps().size())
    throw UsageError("strength {}: leaves no step of {}; take more of either", inputs.strength, steps);
  schedule.begin_at(begin);
}

Task make_task(const TaskInputs& inputs, const TaskModels& models, const schedulers::NoiseSource& draw) {
  if (inputs.task.kind == TaskKind::text_to_image) return {.noise = draw()};
  const Maker make(inputs, models, draw);
  const bool inpaints = inputs.task.kind == TaskKind::inpainting;
  const bool goes_on = inputs.denoising_start.has_value();
  Task task{.begins_with_noise = !goes_on && inpaints && inputs.strength == 1, .begins_with_image = goes_on};
  if (inputs.latents.defined())
    task.image_latents = make.given();
  else if (!task.begins_with_noise || !models.reads_mask())
    task.image_latents = make.sample(inputs.pixels);
  if (goes_on) return task;
  task.noise = draw();
  if (!inpaints) return task;
  if (models.reads_mask()) {
    const Tensor masked = make.sample(inputs.pixels * (1 - inputs.mask));
    task.extra_channels = at::cat({make.latent_mask(), masked}, 1);
  } else {
    // diffusers samples the masked picture here too, so that later noise depends on it.
    if (models.encodes_to_distribution) draw();
    task.mask = make.latent_mask();
  }
  return task;
}

}  // namespace diffract::pipelines
